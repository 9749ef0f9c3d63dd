"""Deskewing: a slanted bar stands up again, and training sees upright images before distortion."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from search.engine import training
from search.engine.arithmetic import FLOAT32, Arithmetic
from search.engine.deskew import BATCH, Deskew, deskewed
from search.engine.images import Images, on_device
from search.engine.network import make_network
from search.engine.recipe import Augmentation, Recipe


def bar(slant: float) -> Tensor:
    """``[1, 1, 28, 28]``: a bar from row 5 to 22 that leans by so many pixels a row."""
    y = torch.arange(28.0).view(28, 1)
    x = torch.arange(28.0) - 13.5 - slant * (y - 13.5)
    ink = torch.exp(-((x / 1.5) ** 2)) * ((y >= 5) & (y <= 22))
    return ink.view(1, 1, 28, 28)


def lean(images: Tensor) -> Tensor:
    """Pixels that the ink moves to the right for every row down, by regression of x on y."""
    ink = images - images.amin((2, 3), keepdim=True)
    mass = ink.sum((2, 3), keepdim=True)
    y = torch.arange(28.0).view(28, 1)
    x = torch.arange(28.0)
    y = y - (ink * y).sum((2, 3), keepdim=True) / mass
    x = x - (ink * x).sum((2, 3), keepdim=True) / mass
    return (ink * x * y).sum((2, 3)) / (ink * y * y).sum((2, 3))


@pytest.mark.parametrize("slant", [-0.4, -0.1, 0.0, 0.3])
def test_a_slanted_bar_stands_up(slant: float) -> None:
    assert lean(bar(slant)).item() == pytest.approx(slant, abs=0.02)
    upright = Deskew()(bar(slant))
    torch.testing.assert_close(upright, bar(0.0), atol=0.12, rtol=0)  # interpolation blurs
    assert abs(lean(upright).item()) < 0.01


def test_normalised_images_lean_as_raw_ones_do(mnist_1200: tuple[np.ndarray, np.ndarray]) -> None:
    images = on_device(*mnist_1200, 0.1307, 0.3081, torch.device("cpu"))
    raw = images.pixels[:100].unsqueeze(1).float()
    expected = images.normalised(Deskew()(raw))
    torch.testing.assert_close(Deskew()(images.normalised(raw)), expected, atol=1e-4, rtol=0)
    slants = lean(raw).abs().mean(), lean(Deskew()(raw)).abs().mean()
    assert slants[1] < 0.1 * slants[0]


def test_an_image_without_ink_stays_as_it_is() -> None:
    flat = torch.full((2, 1, 28, 28), -0.42)
    assert torch.equal(Deskew()(flat), flat)


def test_images_are_deskewed_in_batches_and_keep_the_rest(
    mnist_1200: tuple[np.ndarray, np.ndarray],
) -> None:
    images = on_device(*mnist_1200, 0.1307, 0.3081, torch.device("cpu"))
    assert len(images) % BATCH
    upright = deskewed(images)
    expected = Deskew()(images.pixels.unsqueeze(1).float()).squeeze(1)
    assert upright.pixels.dtype == torch.uint8
    assert upright.pixels.shape == images.pixels.shape
    assert (upright.pixels - expected).abs().max() <= 0.5
    assert upright.labels is images.labels


RECIPE = Recipe(batch_size=64, average_decay=0.9, augmentation=Augmentation(rotation=8, shift=1))


def rest() -> list[nn.Module]:
    return [
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(0.1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)),
    ]


@pytest.mark.parametrize("arithmetic", [FLOAT32, Arithmetic(fused=False)])
def test_the_rest_is_trained_on_upright_images_and_the_whole_is_judged(
    arithmetic: Arithmetic, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    def images(part: slice) -> Images:
        pixels, labels = mnist_1200
        return on_device(pixels[part], labels[part], 0.1307, 0.3081, torch.device("cpu"))

    train, held_out = images(slice(640)), images(slice(1000, None))

    def fit(*before: nn.Module, train: Images, held_out: Images) -> training.Fit:
        def build() -> nn.Module:
            return nn.Sequential(*before, *rest())

        return training.fit(build, RECIPE, train, held_out, epochs=2, seed=3, arithmetic=arithmetic)

    whole = fit(Deskew(), train=train, held_out=held_out)
    plain = fit(train=deskewed(train), held_out=held_out)
    ours, theirs = whole.model.state_dict(), plain.model.state_dict()
    assert all(map(torch.equal, ours.values(), theirs.values()))
    assert whole.epochs[-1].training_loss == plain.epochs[-1].training_loss

    network = make_network(whole.model, arithmetic, torch.device("cpu"))
    last = whole.epochs[-1]
    assert training.evaluate(network, held_out) == (last.accuracy, last.loss)
    whole.model.eval()
    with torch.no_grad():
        pixels = held_out.normalised(held_out.pixels.unsqueeze(1))
        loss = functional.cross_entropy(whole.model(pixels), held_out.labels)
    assert last.loss == pytest.approx(loss.item(), rel=1e-4)
    assert last.loss != plain.epochs[-1].loss  # judged as if its images came upright


def test_a_batch_of_images_stays_on_its_device() -> None:
    meta = torch.device("meta")
    images = Images(
        pixels=torch.zeros(64, 28, 28, dtype=torch.uint8, device=meta),
        labels=torch.zeros(64, dtype=torch.int64, device=meta),
        mean=0.1307,
        deviation=0.3081,
    )
    assert deskewed(images).pixels.device == meta
