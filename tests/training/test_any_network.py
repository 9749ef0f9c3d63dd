"""Whatever network is written is the one that is trained: compared with torch's own loop."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn import functional

from objective import Settings, begin_training
from search.candidates.candidate import Candidate
from search.common.errors import TrainingError
from search.data.dataset import DataSource
from search.data.images import Images
from search.study.judge import Task
from search.training.arithmetic import Arithmetic
from search.training.epoch import Epoch
from search.training.loop import TrainingRun
from search.training.network import make_network, uses_fused
from search.training.recipe import Recipe
from search.training.trainer import Trainer
from tests.helpers.networks import CLASSES, IDIOMS, SIDE, network_of, networks
from tests.training.kernels.reference import needs_bfloat16

CPU = torch.device("cpu")
RECIPE = Recipe(
    learning_rate=0.05, weight_decay=0.1, batch_size=8, schedule="constant", average_decay=0.5
)
STEPS = 3


def images() -> Images:
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (8, 1, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (8,), generator=generator)
    return Images(pixels=pixels, labels=labels, mean=(0.5,), std=(0.3,))


class Textbook:
    """The loop that one would write by hand, with averages of weights and running statistics."""

    def __init__(self, model: nn.Module, recipe: Recipe, *, low: bool = False) -> None:
        self.model, self.recipe, self.low = model, recipe, low
        self.optimizer = torch.optim.SGD(
            *(model.parameters(), recipe.learning_rate, recipe.momentum),
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
        self.averages = {name: value.clone() for name, value in self.averaged()}

    def averaged(self) -> list[tuple[str, Tensor]]:
        """Averages are of what is trained and of running statistics."""
        found = [(name, p.detach()) for name, p in self.model.named_parameters()]
        return found + [(n, b) for n, b in self.model.named_buffers() if "running_" in n]

    def step(self, x: Tensor, labels: Tensor, decay: float) -> None:
        self.model.train()
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if self.low else nullcontext():
            logits = self.model(x)
        dtype = x.dtype if x.dtype == torch.float64 else torch.float32
        functional.cross_entropy(logits.to(dtype), labels).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        for name, value in self.averaged():
            self.averages[name].lerp_(value, 1 - decay)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor.detach().clone()
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }


def run_both(
    names: list[str], whole: bool, dtype: torch.dtype, recipe: Recipe = RECIPE
) -> tuple[Trainer, nn.Module, Textbook]:
    """Three steps of the trainer and of the textbook's loop, from equal weights."""
    ours, theirs = (network_of(names, whole=whole).to(dtype) for _ in range(2))
    data = images()
    trainer = Trainer([ours], recipe, data, epochs=STEPS, arithmetic=Arithmetic(fused=True))
    textbook = Textbook(theirs, recipe)
    x = data.normalised(data.pixels.float()).to(dtype)
    for step in range(STEPS):
        trainer.step(step, torch.arange(8), None, step)
        textbook.step(x, data.labels, min(recipe.average_decay, (1 + step) / (10 + step)))
    return trainer, ours, textbook


def compare(names: list[str], whole: bool, dtype: torch.dtype, tolerance: float) -> None:
    trainer, ours, textbook = run_both(names, whole, dtype)

    def assert_close(found: Tensor, expected: Tensor, name: str) -> None:
        torch.testing.assert_close(
            found, expected, rtol=tolerance, atol=tolerance, msg=lambda text: f"{name}: {text}"
        )

    for (name, a), (same, b) in zip(
        ours.named_parameters(), textbook.model.named_parameters(), strict=True
    ):
        assert name == same and (a.grad is None) == (b.grad is None), name
        if a.grad is not None and b.grad is not None:
            assert_close(a.grad, b.grad, name)
    expected = tensors(textbook.model)
    found = tensors(ours)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(found[name], value, name)
    x = images().normalised(images().pixels.float()).to(dtype)
    textbook.model.eval()
    with torch.no_grad():
        assert_close(trainer.network(x, training=False), textbook.model(x), "logits")
    trainer.keep_average()
    for name, value in textbook.averages.items():
        found = tensors(ours)
        assert_close(found[name], value, name)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("name", IDIOMS)
def test_each_idiom_is_trained_as_torch_trains_it(name: str, whole: bool) -> None:
    compare([name], whole, torch.float64, 1e-9)
    compare([name], whole, torch.float32, 1e-3)


@given(drawn=networks())
@settings(max_examples=80, deadline=None)
def test_any_network_is_trained_as_torch_trains_it(drawn: tuple[list[str], bool]) -> None:
    compare(*drawn, torch.float64, 1e-8)


def error(model: nn.Module, exact: nn.Module) -> float:
    """Of all gradients, relative to their length."""
    pairs = [
        (a.grad.flatten().double(), b.grad.flatten())
        for a, b in zip(model.parameters(), exact.parameters(), strict=True)
        if a.grad is not None and b.grad is not None
    ]
    ours, truth = (torch.cat(list(values)) for values in zip(*pairs, strict=True))
    return float((ours - truth).norm() / truth.norm())


@needs_bfloat16
@pytest.mark.parametrize("whole", [False, True])
def test_in_bfloat16_the_gradient_is_as_good_as_autocasts(whole: bool) -> None:
    """Against float64, over all idioms; single networks differ by chance."""
    ours: list[float] = []
    theirs: list[float] = []
    data = images()
    x = data.normalised(data.pixels.float())
    for name in IDIOMS:
        models = [network_of([name], whole=whole) for _ in range(3)]
        exact = models[2].double().train()
        functional.cross_entropy(exact(x.double()), data.labels).backward()  # type: ignore[no-untyped-call]
        network = make_network(models[0], Arithmetic(bfloat16=True), CPU)
        functional.cross_entropy(network(x), data.labels).backward()  # type: ignore[no-untyped-call]
        with torch.autocast("cpu", torch.bfloat16):
            logits = models[1].train()(x)
        functional.cross_entropy(logits.float(), data.labels).backward()  # type: ignore[no-untyped-call]
        ours.append(error(models[0], exact))
        theirs.append(error(models[1], exact))
        assert ours[-1] < 3 * theirs[-1] + 0.05, name
    assert sum(ours) < 1.25 * sum(theirs)


def test_what_is_resumed_ends_with_the_same_bits() -> None:
    """All that steps depend on is in the state, buffers that a state_dict leaves out among it."""
    names = ["replaced buffer", "norm without momentum", "frozen norm", "residual module"]
    data = images()
    ends = []
    for cut in (False, True):
        model = network_of(names)
        trainer = Trainer([model], RECIPE, data, epochs=STEPS, arithmetic=Arithmetic(fused=True))
        for step in range(STEPS):
            if cut and step == 2:
                state = trainer.state()
                model = network_of(names)
                trainer = Trainer(
                    *([model], RECIPE, data), epochs=STEPS, arithmetic=Arithmetic(fused=True)
                )
                trainer.load_states([state])
            trainer.step(step, torch.arange(8), None, step)
        ends.append(tensors(model))
    for name, value in ends[0].items():
        assert torch.equal(value, ends[1][name]), name


def test_lazy_layers_take_their_shapes_from_the_images() -> None:
    from search.training.loop import fit

    def build() -> nn.Module:
        return nn.Sequential(
            *(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten()),
            nn.LazyLinear(CLASSES),
        )

    done = fit(build, replace(RECIPE, batch_size=4), images(), images(), epochs=1, seed=0)
    assert done.model[4].weight.shape == (CLASSES, 4 * (SIDE - 2) ** 2)  # type: ignore[index]


def trained(build: Callable[[], nn.Module], seed: int = 1, **changes: Any) -> list[Epoch]:
    run = TrainingRun(
        build, RECIPE, images(), images(), epochs=2, seed=seed, arithmetic=Arithmetic(**changes)
    )
    return [replace(epoch, seconds=0.0) for epoch in run.epochs()]


class Viewing(nn.Module):
    """As people flatten: what it sees must lie in torch's own order."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 6, 3)
        self.last = nn.Linear(6 * (SIDE - 2) ** 2, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x))
        return self.last(x.view(x.size(0), -1))  # type: ignore[no-any-return]


def flattened() -> nn.Module:
    class View(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(len(x), -1)

    size = 6 * (SIDE - 2) ** 2
    return nn.Sequential(nn.Conv2d(1, 6, 3), nn.ReLU(), View(), nn.Linear(size, CLASSES))


def reshaped() -> nn.Module:
    network = Viewing()
    network.forward = lambda x: network.last(torch.relu(network.conv(x)).flatten(1))  # type: ignore[method-assign]
    return network


@pytest.mark.parametrize("build", [Viewing, flattened])
def test_maps_may_be_flattened_by_view(build: Callable[[], nn.Module]) -> None:
    for stacked in (False, True):
        found, other = trained(build, stacked=stacked), trained(reshaped)
        for one, same in zip(found, other, strict=True):
            assert one.training_loss == pytest.approx(same.training_loss, rel=1e-4)
            assert one.loss == pytest.approx(same.loss, rel=1e-4)


class Drawing(nn.Module):
    """Draws from Python's and NumPy's generators, for weights and in every step."""

    def __init__(self) -> None:
        super().__init__()
        weight = np.random.normal(size=(CLASSES, SIDE * SIDE)) * random.uniform(0.01, 0.02)
        self.weight = nn.Parameter(torch.tensor(weight, dtype=torch.float32))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            x = x * random.random() + float(np.random.random())
        return functional.linear(x.flatten(1), self.weight)


def test_what_draws_from_other_generators_repeats_and_goes_on_from_a_state() -> None:
    random.seed()
    np.random.seed()
    assert trained(Drawing) == trained(Drawing)
    assert trained(Drawing) != trained(Drawing, seed=2)
    first, second = (
        TrainingRun(Drawing, RECIPE, images(), images(), epochs=2, seed=1) for _ in range(2)
    )
    whole = [epoch.loss for epoch in first.epochs()]
    going = second.epochs()
    next(going)
    third = TrainingRun(Drawing, RECIPE, images(), images(), epochs=2, seed=1)
    third.load_state(second.state())
    random.random()
    assert [epoch.loss for epoch in third.epochs()] == whole[1:]


class Counted(nn.Module):
    """Holds no parameter, but buffers that are no running statistics."""

    steps: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("steps", torch.zeros(()))
        self.register_buffer("scale", torch.ones((), dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.steps += 1
        return x * self.scale.float()


def test_buffers_of_ones_own_stay_what_they_are() -> None:
    """In a plain sequence as anywhere else: not averaged, and of their type."""

    def build() -> nn.Module:
        layers = (nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), Counted(), nn.AdaptiveAvgPool2d(1))
        return nn.Sequential(*layers, nn.Flatten(), nn.Linear(6, CLASSES))

    run = TrainingRun(build, RECIPE, images(), images(), epochs=4, seed=1)
    list(run.epochs())
    buffers = dict(run.model.named_buffers())
    assert buffers["2.steps"].item() == 4
    assert buffers["2.scale"].dtype == torch.float64


class Overflowing(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y if self.training else y * math.nan


def test_a_network_that_gives_no_numbers_in_validation_fails() -> None:
    def build() -> nn.Module:
        return nn.Sequential(nn.Flatten(), Overflowing(SIDE * SIDE, CLASSES))

    for changes in ({}, {"stacked": True}):
        with pytest.raises(TrainingError, match="validation loss is not finite at epoch 1"):
            trained(build, **changes)


@pytest.mark.parametrize(("build", "order"), [(Viewing, ", channels first"), (Drawing, "")])
def test_a_trial_records_the_memory_order_that_its_network_needed(
    build: Callable[[], nn.Module], order: str, tmp_path: Path
) -> None:
    source = DataSource(
        folder=tmp_path, name="", description="", fingerprint="", mean=(0.5,), std=(0.3,)
    )
    settings = Settings(source=source, epochs=1)
    candidate = Candidate(build=build, recipe=RECIPE, name="")
    task = Task(number=0, seed=1, candidate="")
    run, facts = begin_training(candidate, task, settings, images(), None)
    assert facts["device"].endswith(f"{order})")
    assert ("fused" in facts["device"]) == uses_fused(run.arithmetic, CPU)
    assert Arithmetic.parse(facts["device"]).channels_last == (not order)
