"""Distortion: moves pixels by what the recipe says and repeats under a seed."""

from __future__ import annotations

import numpy as np
import torch

from search.training.augmentation import distort
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
