"""Training: learns, repeats exactly, shares memory, stops, and keeps to its device."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from search.common.errors import InterruptedTraining, TrainingError
from search.common.seeds import mix_seed
from search.data.images import Images, on_device
from search.layers.rotated import RotatedBatchNorm2d, RotatedConv2d
from search.training import loop as training
from search.training.arithmetic import FLOAT32, Arithmetic
from search.training.epoch import Epoch
from search.training.evaluation import evaluate
from search.training.loop import Fit
from search.training.network import make_network
from search.training.recipe import Augmentation, Recipe
from search.training.trainer import Trainer, make_optimizer
from tests.training.kernels.reference import needs_bfloat16

RECIPE = Recipe(
    learning_rate=0.1,
    batch_size=64,
    average_decay=0.9,
    augmentation=Augmentation(rotation=8, shift=1, scale=0.05),
)


def network() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(1, 6, 3), nn.BatchNorm2d(6), nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(0.05)),
        *(nn.Conv2d(6, 12, 3), nn.BatchNorm2d(12), nn.MaxPool2d(2), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(12, 10)),
    )


def rotated_network() -> nn.Module:
    weighted = nn.Conv2d(12, 12, 5, groups=12, bias=False)
    return nn.Sequential(
        *(RotatedConv2d(1, 8, 3), RotatedBatchNorm2d(8), nn.MaxPool2d(2), nn.ReLU()),
        *(RotatedConv2d(8, 12, 3, of_rotated=True), RotatedBatchNorm2d(12), nn.MaxPool2d(2)),
        *(nn.ReLU(), nn.Dropout(0.05), weighted, nn.Flatten(), nn.Linear(12, 10)),
    )


Arrays = tuple[np.ndarray, np.ndarray]


def images(arrays: Arrays, part: slice) -> Images:
    pixels, labels = arrays
    return on_device(pixels[part][:, None], labels[part], (0.1307,), (0.3081,), torch.device("cpu"))


@pytest.fixture
def train(mnist_1200: Arrays) -> Images:
    return images(mnist_1200, slice(1000))


@pytest.fixture
def held_out(mnist_1200: Arrays) -> Images:
    return images(mnist_1200, slice(1000, None))


def run(
    train: Images,
    held_out: Images,
    *,
    epochs: int = 2,
    seed: int = 0,
    recipe: Recipe = RECIPE,
    arithmetic: Arithmetic = FLOAT32,
    should_stop: Callable[[], bool] = lambda: False,
) -> Fit:
    return training.fit(
        network,
        recipe,
        train,
        held_out,
        epochs=epochs,
        seed=seed,
        arithmetic=arithmetic,
        should_stop=should_stop,
    )


def without_seconds(fit: Fit) -> list[Epoch]:
    return [replace(epoch, seconds=0.0) for epoch in fit.epochs]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_it_learns(train: Images, held_out: Images, optimizer: str) -> None:
    rate = 0.3 if optimizer == "sgd" else 0.03
    recipe = replace(RECIPE, optimizer=optimizer, learning_rate=rate)
    fit = run(train, held_out, epochs=30, recipe=recipe)
    assert fit.epochs[-1].accuracy > 0.7
    assert fit.epochs[-1].training_loss < fit.epochs[0].training_loss


def test_equal_seeds_give_equal_curves_and_others_do_not(train: Images, held_out: Images) -> None:
    first, again, other = (run(train, held_out, seed=seed) for seed in (3, 3, 4))
    assert without_seconds(first) == without_seconds(again)
    assert without_seconds(first) != without_seconds(other)
    for a, b in zip(
        first.model.state_dict().values(), again.model.state_dict().values(), strict=True
    ):
        assert torch.equal(a, b)


def test_the_network_that_is_returned_has_the_last_epochs_accuracy(
    train: Images, held_out: Images
) -> None:
    fit = run(train, held_out, epochs=3)
    network = make_network(fit.model, FLOAT32, torch.device("cpu"))
    accuracy, loss, _ = evaluate(network, held_out)
    assert (accuracy, loss) == (fit.epochs[-1].accuracy, fit.epochs[-1].loss)


def test_without_augmentation_and_averaging_it_is_plain_pytorch(
    train: Images, held_out: Images
) -> None:
    """One epoch of whole batches equals the textbook loop: same order, same arithmetic."""
    recipe = Recipe(learning_rate=0.05, batch_size=100, schedule="cosine", weight_decay=1e-3)

    def plain_network() -> nn.Module:
        return nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(2304, 10))

    ours = training.fit(plain_network, recipe, train, held_out, epochs=1, seed=7).model
    torch.manual_seed(mix_seed(7, "weights"))
    theirs = plain_network()
    optimizer = torch.optim.SGD(
        theirs.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=1e-3
    )
    generator = torch.Generator().manual_seed(mix_seed(7, 1, "order"))
    order = torch.randperm(1000, generator=generator)
    for step in range(10):
        chosen = order[100 * step : 100 * step + 100]
        batch = (train.pixels[chosen] / 255 - 0.1307) / 0.3081
        optimizer.zero_grad()
        nn.functional.cross_entropy(theirs(batch), train.labels[chosen]).backward()  # type: ignore[no-untyped-call]
        for group in optimizer.param_groups:
            group["lr"] = recipe.rate(step, 10, 10)
        optimizer.step()
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_the_optimiser_is_torchs_own_to_the_bit(optimizer: str) -> None:
    recipe = Recipe(optimizer=optimizer, learning_rate=0.1, momentum=0.9, weight_decay=0.01)
    ours = nn.Parameter(torch.linspace(-1, 1, 50))
    theirs = nn.Parameter(ours.detach().clone())
    expected: torch.optim.Optimizer
    if optimizer == "sgd":
        expected = torch.optim.SGD(
            *([theirs], 0.1, 0.9), nesterov=recipe.nesterov, weight_decay=0.01, fused=True
        )
    else:
        kind = torch.optim.Adam if optimizer == "adam" else torch.optim.AdamW
        expected = kind([theirs], lr=0.1, weight_decay=0.01, fused=True)
    one = make_optimizer(recipe, [ours])
    for step in range(4):
        if step == 2:  # what a checkpoint keeps goes from either to either
            kept, one = one.state_dict(), make_optimizer(recipe, [ours])
            one.load_state_dict(expected.state_dict())
            expected.load_state_dict(kept)
        for values in (ours, theirs):
            values.grad = torch.sin(values.detach() * (step + 3))
        one.step()
        expected.step()
        assert torch.equal(ours, theirs)
    assert ours.grad is not None and not ours.grad.requires_grad


def test_distortions_fall_to_their_final_share_step_by_step(
    train: Images, held_out: Images, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Augmentation] = []

    def distort(images: torch.Tensor, amounts: Augmentation, *_: object) -> torch.Tensor:
        seen.append(amounts)
        return images

    monkeypatch.setattr("search.training.trainer.distort", distort)
    recipe = replace(RECIPE, augmentation=Augmentation(rotation=10, shift=2, final=0.2))
    run(train, held_out, recipe=recipe, epochs=2)
    rotations = [amounts.rotation for amounts in seen]
    steps = 2 * (len(train) // RECIPE.batch_size)
    assert rotations == pytest.approx([10 - 8 * step / steps for step in range(steps)])
    assert [amounts.shift for amounts in seen] == pytest.approx([r / 5 for r in rotations])


def test_a_loss_that_is_not_finite_is_an_error(train: Images, held_out: Images) -> None:
    def broken() -> nn.Module:
        model = network()
        with torch.no_grad():
            next(iter(model.parameters())).fill_(math.nan)
        return model

    with pytest.raises(TrainingError, match="not finite at epoch 1"):
        training.fit(broken, RECIPE, train, held_out, epochs=2, seed=0)


def test_it_stops_within_a_step(train: Images, held_out: Images) -> None:
    asked = 0

    def should_stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 5

    with pytest.raises(InterruptedTraining):
        run(train, held_out, should_stop=should_stop)
    assert asked == 6


def test_the_average_follows_the_weights_by_its_decay(train: Images) -> None:
    """By hand: (1 + step) / (10 + step) of what it was, at most the recipe's share; 0.9 here."""
    torch.manual_seed(0)
    model = network()
    trainer = Trainer([model], RECIPE, train, epochs=20, arithmetic=FLOAT32)

    def values() -> dict[str, torch.Tensor]:
        found = model.state_dict().items()
        return {name: value.clone() for name, value in found if value.is_floating_point()}

    expected, drawn = values(), torch.Generator().manual_seed(1)
    for step in range(100):
        trainer.step(step, torch.arange(64), drawn, step)
        share = min(0.9, (1 + step) / (10 + step))
        for name, value in values().items():
            expected[name] = share * expected[name] + (1 - share) * value
    last = values()
    trainer.keep_average()
    for name, value in values().items():
        torch.testing.assert_close(value, expected[name])
        assert not torch.equal(value, last[name]), name


def test_the_images_share_the_arrays_memory(mnist_1200: Arrays) -> None:
    pixels = mnist_1200[0]
    assert images(mnist_1200, slice(None)).pixels.data_ptr() == pixels.ctypes.data


@pytest.mark.parametrize("fused", [False, pytest.param(True, marks=needs_bfloat16)])
def test_bfloat16_rounds_what_is_trained_and_not_what_is_judged(train: Images, fused: bool) -> None:
    """Its eight bits of digits move logits by parts of a thousand: not by none, not by tenths."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(layer for layer in network().children() if not isinstance(layer, nn.Dropout))
    )
    x = train.normalised(train.pixels[:64].float())
    full, half = (
        make_network(model, Arithmetic(bfloat16=low, fused=fused), torch.device("cpu"))
        for low in (False, True)
    )

    def difference(*, training: bool) -> float:
        before = copy.deepcopy(model.state_dict())
        exact = full(x, training=training).detach().clone()
        model.load_state_dict(before)  # running statistics, which training moves
        other = half(x, training=training).detach()
        model.load_state_dict(before)
        return float((other - exact).norm() / exact.norm())

    assert 5e-4 < difference(training=True) < 0.05
    assert difference(training=False) == 0.0


def test_a_recipe_with_a_batch_larger_than_the_data(train: Images, held_out: Images) -> None:
    fit = run(train, held_out, epochs=1, recipe=replace(RECIPE, batch_size=5000))
    assert math.isfinite(fit.epochs[0].training_loss)


class _Stubborn(nn.Module):
    """Says class 0 whatever it sees, but for black images, of which it says class 2."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        black = images.flatten(1).amax(1) < 0
        return torch.stack([~black, black & False, black], dim=1).float()


def test_balanced_accuracy_is_the_mean_over_the_classes_that_occur() -> None:
    pixels = torch.full((700, 3, 5, 4), 200, dtype=torch.uint8)
    pixels[600:650] = 0
    labels = torch.tensor([0] * 600 + [2] * 100)  # of class 1 there is none
    images = Images(pixels=pixels, labels=labels, mean=(0.5,) * 3, std=(0.2,) * 3)
    network = make_network(_Stubborn(), Arithmetic(fused=False), torch.device("cpu"))
    found = evaluate(network, images)
    assert found.accuracy == 650 / 700
    assert found.balanced_accuracy == (1.0 + 0.5) / 2


def test_each_channel_is_normalised_by_its_own_mean_and_deviation() -> None:
    pixels = torch.randint(0, 256, (50, 3, 4, 6), dtype=torch.uint8)
    mean, std = (0.1, 0.5, 0.6), (0.2, 0.3, 0.25)
    images = Images(pixels=pixels, labels=torch.zeros(50), mean=mean, std=std)
    expected = torch.stack([(pixels[:, c] / 255 - mean[c]) / std[c] for c in range(3)], dim=1)
    for of in (pixels, pixels.float()):
        torch.testing.assert_close(images.normalised(of), expected)
    assert torch.equal(pixels, images.pixels), "left as they are"
