"""Deskewing: a slanted bar stands up again; training deskews what it distorts."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from search.data.images import on_device
from search.layers.deskew import BATCH, Deskew, moments
from search.training import loop as training
from search.training.arithmetic import FLOAT32, Arithmetic
from search.training.augmentation import distort
from search.training.evaluation import evaluate
from search.training.network import make_network
from search.training.recipe import Augmentation, Recipe


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
    images = on_device(
        mnist_1200[0][:, None], mnist_1200[1], (0.1307,), (0.3081,), torch.device("cpu")
    )
    raw = images.pixels[:100].float()
    expected = images.normalised(Deskew()(raw))
    torch.testing.assert_close(Deskew()(images.normalised(raw)), expected, atol=1e-4, rtol=0)
    slants = lean(raw).abs().mean(), lean(Deskew()(raw)).abs().mean()
    assert slants[1] < 0.1 * slants[0]


def test_an_image_without_ink_stays_as_it_is() -> None:
    flat = torch.full((2, 1, 28, 28), -0.42)
    assert torch.equal(Deskew()(flat), flat)


def test_moments_are_counted_in_batches(mnist_1200: tuple[np.ndarray, np.ndarray]) -> None:
    pixels = torch.from_numpy(mnist_1200[0].copy()).unsqueeze(1)
    assert len(pixels) % BATCH
    found = moments(pixels)
    assert found.shape == (1200, 5)
    assert torch.equal(found[700:710], moments(pixels[700:710]))
    lean_of_them = lean(pixels.float()).squeeze(1)
    torch.testing.assert_close(found[:, 3] / found[:, 4], lean_of_them, atol=1e-4, rtol=0)
    ink = bar(0.0)
    moved = torch.roll(ink, (3, -2), (2, 3))
    shift = (moments(moved) - moments(ink))[0, :2] * 14  # in pixels
    torch.testing.assert_close(shift, torch.tensor([-2.0, 3.0]))


@pytest.mark.parametrize(
    "amounts",
    [Augmentation(), Augmentation(rotation=12, shift=2, scale=0.12)],
    ids=["none", "distorted"],
)
def test_distorting_with_moments_is_distorting_then_deskewing(
    amounts: Augmentation, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    pixels = torch.from_numpy(mnist_1200[0].copy()).unsqueeze(1)
    raw = pixels.float()

    def distorted(of: Tensor | None) -> Tensor:
        return distort(raw, amounts, torch.Generator().manual_seed(1), of)

    at_once, in_turn = distorted(moments(pixels)), Deskew()(distorted(None))
    # interpolated once, not twice; where nothing is distorted there is one anyway
    allowed = 0.15 if amounts.active else 1e-4
    difference = (at_once - in_turn).abs().mean()
    assert difference < allowed * (distorted(None) - in_turn).abs().mean()
    assert lean(at_once).abs().mean() < 0.02 < 0.2 < lean(distorted(None)).abs().mean()


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
    pixels, labels = mnist_1200
    train, held_out = (
        on_device(pixels[part][:, None], labels[part], (0.1307,), (0.3081,), torch.device("cpu"))
        for part in (slice(640), slice(1000, None))
    )
    seen: list[Tensor] = []

    class Seeing(nn.Identity):
        def forward(self, images: Tensor) -> Tensor:
            seen.append(images)
            return images

    def build() -> nn.Module:
        return nn.Sequential(Deskew(), Seeing(), *rest())

    found = training.fit(build, RECIPE, train, held_out, epochs=2, seed=3, arithmetic=arithmetic)
    first = next(images for images in seen if len(images) == RECIPE.batch_size)
    assert lean(first).abs().mean() < 0.02  # a copy of the network was tried before, on two images
    network = make_network(found.model, arithmetic, torch.device("cpu"))
    last = found.epochs[-1]
    assert evaluate(network, held_out)[:2] == (last.accuracy, last.loss)
    images = held_out.normalised(held_out.pixels)
    found.model.eval()
    with torch.no_grad():
        loss = functional.cross_entropy(found.model(images), held_out.labels)
        if_upright = functional.cross_entropy(found.model[1:](images), held_out.labels)  # type: ignore[index]
    assert last.loss == pytest.approx(loss.item(), rel=1e-5)
    assert last.loss != pytest.approx(if_upright.item(), rel=1e-4)


def test_a_batch_of_images_stays_on_its_device() -> None:
    pixels = torch.zeros(64, 1, 28, 28, dtype=torch.uint8, device="meta")
    assert moments(pixels).device.type == "meta"
    images = torch.zeros(64, 1, 28, 28, device="meta")
    amounts = Augmentation(rotation=8)
    assert distort(images, amounts, None, moments(pixels)).device.type == "meta"
    assert Deskew()(images).device.type == "meta"
