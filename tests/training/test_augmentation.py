"""Distortion: moves pixels by what the recipe says and repeats under a seed."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from search.layers.deskew import Deskew, moments
from search.training.augmentation import brighten, cut_out, distort
from search.training.recipe import Augmentation


def batch(mnist: tuple[np.ndarray, np.ndarray], count: int = 64) -> torch.Tensor:
    return torch.from_numpy(mnist[0][:count]).unsqueeze(1).float()


def centres(images: torch.Tensor) -> torch.Tensor:
    """Centres of mass ``[N, 2]``, in pixels: column, row."""
    positions = torch.arange(28.0)
    mass = images.sum(dim=(1, 2, 3))
    across = (images.sum(dim=2).squeeze(1) * positions).sum(dim=1) / mass
    down = (images.sum(dim=3).squeeze(1) * positions).sum(dim=1) / mass
    return torch.stack([across, down], dim=1)


def test_nothing_changes_at_zero_amounts(mnist_1200: tuple[np.ndarray, np.ndarray]) -> None:
    images = batch(mnist_1200)
    out = distort(images, Augmentation(), torch.Generator().manual_seed(0))
    torch.testing.assert_close(out, images, atol=0.05, rtol=0)


def test_shifts_are_within_the_amount_and_use_it(
    mnist_1200: tuple[np.ndarray, np.ndarray],
) -> None:
    images = batch(mnist_1200, 500)
    out = distort(images, Augmentation(shift=2.0), torch.Generator().manual_seed(0))
    moved = (centres(out) - centres(images)).abs()
    assert moved.max() < 2.1
    assert moved.max() > 1.8
    assert 0.8 < moved.mean() < 1.2


def test_scale_changes_the_mass_by_its_square(
    mnist_1200: tuple[np.ndarray, np.ndarray],
) -> None:
    images = batch(mnist_1200, 500)
    out = distort(images, Augmentation(scale=0.1), torch.Generator().manual_seed(0))
    ratio = out.sum(dim=(1, 2, 3)) / images.sum(dim=(1, 2, 3))
    assert 0.78 < ratio.min() < 0.86
    assert 1.14 < ratio.max() < 1.25


def test_rotation_turns_by_the_angle() -> None:
    bar = torch.zeros(300, 1, 28, 28)
    bar[:, :, 13:15, 4:24] = 255.0
    out = distort(bar, Augmentation(rotation=30.0), torch.Generator().manual_seed(0))
    weights = out[:, 0] / out.sum(dim=(1, 2, 3)).view(-1, 1, 1)
    x = torch.arange(28.0).view(1, 1, 28) - 13.5
    y = torch.arange(28.0).view(1, 28, 1) - 13.5
    angle = 0.5 * torch.atan2(
        2 * (weights * x * y).sum(dim=(1, 2)), (weights * (x**2 - y**2)).sum(dim=(1, 2))
    )
    degrees = angle.abs() * 180 / torch.pi
    assert 27 < degrees.max() < 31
    assert 12 < degrees.mean() < 18


def test_equal_generators_give_equal_images(mnist_1200: tuple[np.ndarray, np.ndarray]) -> None:
    images, amounts = batch(mnist_1200), Augmentation(rotation=10, shift=2, scale=0.1)
    first, again, other = (
        distort(images, amounts, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_mirroring_turns_half_of_the_images_and_nothing_else(
    mnist_1200: tuple[np.ndarray, np.ndarray],
) -> None:
    images = batch(mnist_1200, 500)
    out = distort(images, Augmentation(mirror=True), torch.Generator().manual_seed(0))

    def close(to: torch.Tensor) -> torch.Tensor:
        return (out - to).abs().amax(dim=(1, 2, 3)) < 0.05

    turned, kept = close(images.flip(3)), close(images)
    assert (turned ^ kept).all()
    assert 200 < turned.sum() < 300


def test_what_is_mirrored_is_deskewed_as_well(mnist_1200: tuple[np.ndarray, np.ndarray]) -> None:
    images = batch(mnist_1200, 200)
    of_images = moments(images)
    upright = distort(images, Augmentation(), None, of_images)
    out = distort(images, Augmentation(mirror=True), torch.Generator().manual_seed(0), of_images)
    apart = torch.stack([(out - to).abs().amax(dim=(1, 2, 3)) for to in (upright, upright.flip(3))])
    assert apart.amin(dim=0).max() < 1.0
    assert 60 < (apart[1] < apart[0]).sum() < 140


def test_every_image_gets_its_own_brightness() -> None:
    out = brighten(torch.full((1_000, 3, 4, 5), 100.0), 0.3, torch.Generator().manual_seed(0))
    factors = out[:, 0, 0, 0] / 100
    assert (out == out[:, :1, :1, :1]).all(), "all pixels of an image by the same factor"
    assert 0.7 <= factors.min() < 0.71
    assert 1.29 < factors.max() <= 1.3


def test_a_rectangle_of_the_share_that_was_asked_for_is_cut_out() -> None:
    out = cut_out(torch.ones(2_000, 2, 20, 30), 0.5, torch.Generator().manual_seed(0))
    gone = out == 0
    assert (gone[:, 0] == gone[:, 1]).all(), "of all channels"
    assert gone[:, 0].any(dim=2).sum(dim=1).max() == 10
    assert gone[:, 0].any(dim=1).sum(dim=1).max() == 15
    places = gone[:, 0].float().mean(dim=0)
    assert places.min() > 0.05, "everywhere"
    rows = gone[:, 0].any(dim=2)
    assert (rows.sum(dim=1) >= 5).all(), "half of it lies within the image at least"


def test_what_a_recipe_draws_goes_through_the_training(
    mnist_1200: tuple[np.ndarray, np.ndarray],
) -> None:
    """Each amount changes the first step's loss, and the rest of the step stays as it was."""
    from search.data.images import on_device
    from search.training.loop import fit
    from search.training.recipe import Recipe

    pixels, labels = mnist_1200
    images = on_device(pixels[:256, None], labels[:256], (0.13,), (0.31,), torch.device("cpu"))

    def loss(amounts: Augmentation) -> float:
        recipe = Recipe(batch_size=256, augmentation=amounts)
        made = fit(
            lambda: torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10)),
            recipe,
            images,
            None,
            epochs=1,
            seed=0,
        )
        return made.epochs[0].training_loss

    losses = [
        loss(amounts)
        for amounts in (
            Augmentation(),
            Augmentation(mirror=True),
            Augmentation(brightness=0.5),
            Augmentation(cutout=0.5),
        )
    ]
    assert len(set(losses)) == 4


@pytest.mark.parametrize("channels", [1, 3])
def test_images_that_are_not_square_turn_without_being_bent(channels: int) -> None:
    """A bar across an image twice as wide as high is as long upright as lying."""
    lying = torch.zeros(200, channels, 32, 64)
    lying[:, :, 15:17, 20:44] = 1.0
    turned = distort(lying, Augmentation(rotation=90), torch.Generator().manual_seed(1))
    for image in turned[:, 0]:
        y, x = torch.nonzero(image > 0.4, as_tuple=True)
        assert 21 < _longest(y, x) < 26
    if channels == 3:
        assert torch.equal(turned[:, 0], turned[:, 2]), "all channels alike"


def _longest(y: torch.Tensor, x: torch.Tensor) -> float:
    """The largest distance of two points, in pixels."""
    points = torch.stack([y, x], dim=1).float()
    return float(torch.cdist(points, points).max())


def test_wide_images_are_deskewed_as_they_are_distorted() -> None:
    """As for square ones: at once what distorting and then deskewing gives."""
    generator = torch.Generator().manual_seed(3)
    blobs = torch.nn.functional.interpolate(
        torch.rand(50, 1, 4, 5, generator=generator), (16, 28), mode="bilinear"
    )
    images = torch.nn.functional.pad(255 * blobs, (18, 18, 16, 16))
    amounts = Augmentation(rotation=15, shift=1, scale=0.1)

    def distorted(of: torch.Tensor | None) -> torch.Tensor:
        return distort(images, amounts, torch.Generator().manual_seed(1), of)

    at_once, in_turn = distorted(moments(images)), Deskew()(distorted(None))
    difference = (at_once - in_turn).abs().mean() / in_turn.abs().mean()
    assert difference < 0.05
