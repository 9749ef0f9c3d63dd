"""Seeds trained as one network: each gets what it would alone, within float32's error."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from search.common.errors import InterruptedTraining, TrainingError
from search.data.images import Images
from search.layers.deskew import Deskew
from search.layers.test_time_augmentation import MeanOfCopies, ShiftedCopies
from search.training.arithmetic import Arithmetic
from search.training.checkpoint import pack, unpack
from search.training.epoch import Epoch
from search.training.loop import TrainingRun, train_stacked
from search.training.recipe import Augmentation, Recipe
from search.training.stacked.trial_step import can_be_stacked
from tests.helpers.networks import CLASSES, IDIOMS, SIDE, network_of
from tests.training.test_loop import network, rotated_network

ALONE = Arithmetic(fused=False)
STACKED = Arithmetic(fused=False, stacked=True)
SEEDS = (3, 1, 2)
RECIPE = Recipe(
    learning_rate=0.05,
    batch_size=50,
    average_decay=0.9,
    label_smoothing=0.1,
    augmentation=Augmentation(rotation=8, shift=1, scale=0.05, final=0.5),
)
ALL_DRAWN = replace(
    RECIPE, augmentation=Augmentation(rotation=8, mirror=True, brightness=0.2, cutout=0.3)
)


def images(count: int = 200) -> Images:
    generator = torch.Generator().manual_seed(5)
    labels = torch.arange(count) % CLASSES
    pixels = torch.randint(0, 120, (count, 1, 28, 28), generator=generator)
    for i, label in enumerate(labels.tolist()):  # something to learn: a bar at a place
        pixels[i, 0, 2 * label : 2 * label + 2, 4:16] += 120
    return Images(pixels=pixels.byte(), labels=labels, mean=(0.3,), std=(0.3,))


class InDouble(nn.Sequential):
    """Computes in float64, where rounding does not hide what else might differ."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__(model.double())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = super().forward(x.double())  # type: ignore[no-untyped-call]
        return logits


def whole_network() -> nn.Module:
    return nn.Sequential(Deskew(), ShiftedCopies(), InDouble(network()), MeanOfCopies())


def dropping_network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 3), nn.Dropout2d(0.2), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1)),
        *(nn.Flatten(), nn.Linear(1014, 30), nn.ReLU(), nn.Dropout(0.3), nn.Linear(30, 10)),
    )


def residual_network() -> nn.Module:
    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(6, 6, 3, padding=1), nn.GroupNorm(2, 6)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + nn.functional.gelu(self.norm(self.conv(x)))

    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10))
    return nn.Sequential(nn.Conv2d(1, 6, 5, stride=2), Block(), Block(), *head)


def new_run(
    seed: int,
    build: Callable[[], nn.Module] = network,
    recipe: Recipe = RECIPE,
    arithmetic: Arithmetic = STACKED,
    validation: Images | None = None,
) -> TrainingRun:
    def in_double() -> nn.Module:
        return build() if build is whole_network else InDouble(build())

    return TrainingRun(
        in_double, recipe, images(), validation, epochs=3, seed=seed, arithmetic=arithmetic
    )


def check_equal(stacked: TrainingRun, alone: TrainingRun, side: int = 28) -> None:
    """In what they compute."""
    data = images(40)
    x = data.normalised(data.pixels.float())[:, :, :side, :side]
    with torch.no_grad():
        expected, found = (run.model.eval()(x) for run in (alone, stacked))
    assert (found - expected).abs().max() < 1e-4 * expected.abs().max()
    for one, other in zip(stacked.curve, alone.curve, strict=True):
        assert one.training_loss == pytest.approx(other.training_loss, rel=1e-4)
        assert one.loss == pytest.approx(other.loss, rel=1e-3, nan_ok=True)


@pytest.mark.parametrize(
    ("build", "changes"),
    [
        (network, {}),
        (network, {"optimizer": "adamw", "learning_rate": 0.002}),
        (network, {"average_decay": 0.0, "momentum": 0.0, "nesterov": False}),
        (rotated_network, {}),
        (whole_network, {}),
        (dropping_network, {"augmentation": ALL_DRAWN.augmentation}),
        (residual_network, {"optimizer": "adam", "learning_rate": 0.002}),
    ],
)
def test_each_seed_gets_what_it_would_alone(
    build: Callable[[], nn.Module], changes: dict[str, Any]
) -> None:
    recipe = replace(RECIPE, **changes)
    held_out = images(40)
    runs = [new_run(seed, build, recipe, validation=held_out) for seed in SEEDS]
    every = list(train_stacked(runs))
    assert [len(epochs) for epochs in every] == [3, 3, 3]
    for run, seed in zip(runs, SEEDS, strict=True):
        alone = new_run(seed, build, recipe, ALONE, held_out)
        list(alone.epochs())
        check_equal(run, alone)
    first = runs[0].model.state_dict()
    assert any(not torch.equal(first[name], v) for name, v in runs[1].model.state_dict().items())


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_what_is_cut_goes_on_bit_equal_also_with_fewer(optimizer: str) -> None:
    recipe = replace(RECIPE, optimizer=optimizer, learning_rate=0.02)
    whole = [new_run(seed, recipe=recipe) for seed in SEEDS]
    list(train_stacked(whole))
    cut = [new_run(seed, recipe=recipe) for seed in SEEDS]
    for _ in train_stacked(cut):
        break
    packed = [pack("a", run.state()) for run in cut]

    def resumed(places: list[int]) -> list[TrainingRun]:
        runs = [new_run(SEEDS[at], recipe=recipe) for at in places]
        for run, at in zip(runs, places, strict=True):
            run.load_state(unpack(packed[at], "a") or {})
        list(train_stacked(runs))
        return runs

    for run, other in zip(resumed([0, 1, 2]), whole, strict=True):
        for name, value in other.model.state_dict().items():
            assert torch.equal(value, run.model.state_dict()[name]), name
        assert [e.training_loss for e in run.curve] == [e.training_loss for e in other.curve]
    check_equal(resumed([2])[0], whole[2])


def test_one_that_diverges_does_not_end_the_others() -> None:
    runs = [new_run(seed) for seed in SEEDS]
    with torch.no_grad():
        next(runs[1].model.parameters()).fill_(math.nan)
    every = list(train_stacked(runs))
    assert len(every) == 3
    for first, second, third in every:
        assert isinstance(first, Epoch) and isinstance(third, Epoch)
        assert isinstance(second, TrainingError) and "not finite at epoch 1" in str(second)
    assert runs[1].curve == []
    alone = new_run(SEEDS[2], arithmetic=ALONE)
    list(alone.epochs())
    check_equal(runs[2], alone)
    lost = [new_run(seed) for seed in SEEDS[:2]]
    for run in lost:
        with torch.no_grad():
            next(run.model.parameters()).fill_(math.inf)
    assert len(list(train_stacked(lost))) == 1


def test_it_stops_within_a_step() -> None:
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked == 6

    with pytest.raises(InterruptedTraining):
        list(train_stacked([new_run(seed) for seed in SEEDS], should_stop))
    assert asked == 6


@pytest.mark.processes  # the compiler
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
@pytest.mark.parametrize("stacked", [False, True])
def test_compiled_it_is_the_same(stacked: bool) -> None:
    compiled = Arithmetic(fused=False, compile=True, stacked=stacked)
    build = network if stacked else residual_network  # what is compiled draws dropout of its own
    run, other = (new_run(seed, build, arithmetic=compiled) for seed in (1, 2))
    alone = new_run(1, build, arithmetic=ALONE)
    list(train_stacked([run, other]) if stacked else run.epochs())
    list(alone.epochs())
    check_equal(run, alone)


class Rolling(nn.Module):
    """Drops numbers in a way of its own."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(x, 0.5, self.training)


class Deciding(nn.Module):
    """Looks at values."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x if x.mean() > 0 else -x


NOT_STACKED = ("backward hook", "tensor hook", "replaced buffer", "norm without momentum")
OTHERS = {"own dropout": Rolling, "deciding": Deciding}


@pytest.mark.parametrize("name", [*IDIOMS, *OTHERS])
def test_what_would_not_be_the_same_is_found_out(name: str) -> None:
    """Whatever is stacked is trained as it would be alone."""

    def build() -> nn.Module:
        seed = torch.initial_seed()
        model = network_of([name] if name in IDIOMS else [])
        if name in OTHERS:
            model = nn.Sequential(OTHERS[name](), model)
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn(parameter.shape, generator=generator))
        return InDouble(model)

    data = Images(
        pixels=images().pixels[:, :, :SIDE, :SIDE].contiguous(),
        labels=images().labels,
        mean=(0.3,),
        std=(0.3,),
    )

    def runs(arithmetic: Arithmetic) -> list[TrainingRun]:
        return [
            TrainingRun(build, RECIPE, data, None, epochs=1, seed=seed, arithmetic=arithmetic)
            for seed in SEEDS[:2]
        ]

    stacked = runs(STACKED)
    equal = can_be_stacked(
        [run.trained for run in runs(STACKED)], [run.trained for run in runs(STACKED)], data
    )
    assert equal is (name not in (*NOT_STACKED, *OTHERS))
    if equal:
        list(train_stacked(stacked))
        for run, alone in zip(stacked, runs(ALONE), strict=True):
            list(alone.epochs())
            check_equal(run, alone, SIDE)


def test_weights_in_one_memory_are_found_out() -> None:
    """Each step moves them twice."""

    def build(shared: bool) -> nn.Module:
        first, second = nn.Linear(784, 784), nn.Linear(784, 784)
        if shared:
            second.weight = nn.Parameter(first.weight.data)
        return nn.Sequential(nn.Flatten(), first, second, nn.Linear(784, CLASSES))

    for shared in (False, True):
        alone, together = ([build(shared) for _ in range(2)] for _ in range(2))
        for one, other in zip(alone, together, strict=True):
            other.load_state_dict(one.state_dict())
        assert can_be_stacked(alone, together, images()) is not shared
