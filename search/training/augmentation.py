"""Random distortion of whole batches, on the device that holds the images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache, partial

import torch
from torch import Tensor
from torch.nn import functional

from search.training.recipe import Augmentation

# What images are drawn for from; several have each as many of the images, one after the other.
Generators = torch.Generator | Sequence[torch.Generator] | None


def distort(
    images: Tensor,
    amounts: Augmentation,
    generators: Generators,
    moments: Tensor | None = None,
) -> Tensor:
    """Move every image's pixels by its own random amounts, and deskew what comes out.

    What is moved is rotated, shifted, scaled and, in one of two images, mirrored.

    Bilinear interpolation, zero (black) outside; one interpolation for all of it.

    Args:
        images: ``[N, C, H, W]`` float32, background 0.
        amounts: Half-widths of the uniform distributions.
        generators: On the images' device; drawn from in a fixed order. None: the global one.
        moments: Of the images, ``[N, 5]`` as ``deskew.moments`` gives them; None deskews nothing.

    Returns:
        ``[N, C, H, W]`` of the same type.
    """
    count, _, height, width = images.shape
    draws = _drawn(torch.rand, 4, images, generators) * 2 - 1
    angle = draws[0] * (amounts.rotation * torch.pi / 180)
    # The grid maps output positions back to input positions: magnifying divides.
    zoom = 1 / (1 + draws[1] * amounts.scale)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    # The grid's coordinates span height and width alike: what turns must know their ratio.
    longer = height / width
    right, down = draws[2] * (2 * amounts.shift / width), draws[3] * (2 * amounts.shift / height)
    if moments is None:
        entries = [cosine, -sine * longer, right, sine / longer, cosine, down]
    else:
        shear, offset = _upright(cosine, sine, right, down, moments, longer)
        entries = [cosine, cosine * shear - sine * longer, right + cosine * offset]
        entries += [sine / longer, sine / longer * shear + cosine, down + sine / longer * offset]
    if amounts.mirror:  # x of the output changes its sign
        sign = _drawn(partial(torch.randint, 0, 2), 1, images, generators)[0] * 2 - 1
        entries[0], entries[3] = entries[0] * sign, entries[3] * sign
    matrix = torch.stack(entries, dim=1)
    grid = (matrix @ _basis(height, width, images.device)).view(count, height, width, 2)
    return functional.grid_sample(images, grid, align_corners=False)


def brighten(pixels: Tensor, amount: float, generators: Generators) -> Tensor:
    """Multiply every image by its own random factor from 1 - amount to 1 + amount.

    Args:
        pixels: ``[N, C, H, W]`` float32, 0 is black.
        amount: From 0 to 1.
        generators: As ``distort``'s.
    """
    draws = _drawn(torch.rand, 1, pixels, generators).view(-1, 1, 1, 1) * 2 - 1
    return pixels * (1 + draws * amount)


def cut_out(images: Tensor, share: float, generators: Generators) -> Tensor:
    """Put a rectangle of the mean pixel at a random place into every image.

    After DeVries and Taylor 2017, arXiv:1708.04552: the centre is anywhere, so that a part of the
    rectangle may lie outside.

    Args:
        images: ``[N, C, H, W]`` float32, normalised: 0 is the mean pixel.
        share: Of the image's height and width that the rectangle has.
        generators: As ``distort``'s.
    """
    count, _, height, width = images.shape
    centres = _drawn(torch.rand, 2, images, generators).view(2, count, 1, 1, 1)
    rows = (torch.arange(height, device=images.device).view(-1, 1) + 0.5) / height
    columns = (torch.arange(width, device=images.device) + 0.5) / width
    beside = (rows - centres[0]).abs() > share / 2
    return images * (beside | ((columns - centres[1]).abs() > share / 2))


def _upright(
    cosine: Tensor, sine: Tensor, right: Tensor, down: Tensor, moments: Tensor, longer: float
) -> tuple[Tensor, Tensor]:
    """What takes the slant out of distorted images: x becomes x + shear * y + offset.

    The figures go the grid's way backwards: a point p comes to lie at inv(M) (p - shift), where
    M = [[cosine, -sine * longer], [sine / longer, cosine]], and second moments C become
    inv(M) C inv(M)'.

    Args:
        cosine: As the others ``[N]``: the grid's map from output to input positions.
        sine: Likewise.
        right: Likewise.
        down: Likewise.
        moments: ``[N, 5]`` of the images before.
        longer: Their height by their width.
    """
    x, y, xx, xy, yy = moments.unbind(1)
    across, along = cosine * cosine, sine * sine
    twist = cosine * sine
    moment_yy = along * (xx / longer**2) - 2 * twist * (xy / longer) + across * yy  # both times
    moment_xy = (across - along) * xy + twist * (yy * longer - xx / longer)  # M's determinant²
    shear = moment_xy / moment_yy.clamp_min(1e-12)
    y_centre = (cosine * (y - down) - sine / longer * (x - right)) / (across + along)
    return shear, -shear * y_centre


def _drawn(
    draw: Callable[..., Tensor], rows: int, images: Tensor, generators: Generators
) -> Tensor:
    """``[rows, N]``: a column of random numbers for every image."""
    many = generators if isinstance(generators, Sequence) else [generators]
    size = (rows, len(images) // len(many))
    return torch.cat([draw(size, generator=g, device=images.device) for g in many], dim=1)


@lru_cache(maxsize=4)
def _basis(height: int, width: int, device: torch.device) -> Tensor:
    """``[6, H * W * 2]``: a flat 2x3 affine matrix times this is its sampling grid.

    The same grid as ``affine_grid(align_corners=False)`` in one matrix product for all images,
    which on a CPU takes a third of the time.
    """
    x = (torch.arange(width, device=device) * 2 + 1) / width - 1
    y = (torch.arange(height, device=device) * 2 + 1) / height - 1
    rows, columns = torch.meshgrid(y, x, indexing="ij")
    ones, zeros = torch.ones_like(rows), torch.zeros_like(rows)
    pairs = [(columns, zeros), (rows, zeros), (ones, zeros)]
    pairs += [(zeros, columns), (zeros, rows), (zeros, ones)]
    return torch.stack([torch.stack(pair, dim=-1) for pair in pairs]).view(6, -1)
