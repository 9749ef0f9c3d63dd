"""Random affine distortion of whole batches, on the device that holds the images."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from search.engine.recipe import Augmentation


def distort(images: Tensor, amounts: Augmentation, generator: torch.Generator) -> Tensor:
    """Rotate, shift and scale every image by its own random amounts.

    Bilinear interpolation, zero (black) outside.

    Args:
        images: ``[N, 1, H, W]`` float, background 0.
        amounts: Half-widths of the uniform distributions.
        generator: On the images' device; drawn from in a fixed order.

    Returns:
        ``[N, 1, H, W]`` of the same type.
    """
    count, _, height, width = images.shape
    draws = torch.rand(4, count, generator=generator, device=images.device) * 2 - 1
    angle = draws[0] * (amounts.rotation * torch.pi / 180)
    # affine_grid maps output positions back to input positions: magnifying divides.
    zoom = 1 / (1 + draws[1] * amounts.scale)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    right, down = draws[2] * (2 * amounts.shift / width), draws[3] * (2 * amounts.shift / height)
    matrix = torch.stack([cosine, -sine, right, sine, cosine, down], dim=1).view(count, 2, 3)
    grid = functional.affine_grid(matrix, [count, 1, height, width], align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)
