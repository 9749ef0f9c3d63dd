"""Deskewing: upright figures from slanted ones, by a shear that each image's own moments give.

Handwriting slants differently from writer to writer. Taking the slant out beforehand (LeCun et al.
1998, "Gradient-based learning applied to document recognition", section III) costs no parameters
and leaves a small network fewer forms of each digit to learn.

In training the images are distorted first. An affine distortion moves the moments in a known way,
so the moments of the images as they are suffice, and ``augment.distort`` does both at once.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

BATCH = 500  # images whose moments are counted at once


class Deskew(nn.Module):
    """Shears every image along its rows until its ink no longer leans.

    Ink is what is brighter than the image's darkest pixel, so that normalised and raw pixels lean
    alike. With its second moments about the centre of the ink, a pixel of the result comes from
    ``x + (moment_xy / moment_yy) * (y - centre_y)`` of its row, linearly interpolated; outside is
    the darkest pixel.
    """

    def forward(self, images: Tensor) -> Tensor:
        """Upright images of upright or slanted ones, ``[N, 1, H, W]`` floating point both."""
        low = images.amin((2, 3), keepdim=True)
        ink = images - low
        height, width = ink.shape[2:]
        y = torch.arange(height, dtype=ink.dtype, device=ink.device).view(1, 1, -1, 1)
        x = torch.arange(width, dtype=ink.dtype, device=ink.device)
        mass = ink.sum((2, 3), keepdim=True).clamp_min(1e-6)
        y = y - (ink * y).sum((2, 3), keepdim=True) / mass
        from_centre = x - (ink * x).sum((2, 3), keepdim=True) / mass
        moment_xy = (ink * y * from_centre).sum((2, 3), keepdim=True)
        moment_yy = (ink * y * y).sum((2, 3), keepdim=True).clamp_min(1e-6)
        position = (x + moment_xy / moment_yy * y).clamp(-1, width)
        left = position.floor()
        share = position - left
        padded = nn.functional.pad(ink, (1, 2))
        at = left.long() + 1
        return low + (1 - share) * padded.gather(3, at) + share * padded.gather(3, at + 1)

    def stated_macs(self, shape: tuple[int, ...]) -> int:
        """What it counts as: seven a pixel, as ``search.architecture.counting`` explains."""
        return 7 * shape[0] * shape[1] * shape[2]


def moments(pixels: Tensor) -> Tensor:
    """The centre and the spread of each image's ink, for ``augment.distort``.

    Args:
        pixels: ``[N, 1, H, W]`` of any type.

    Returns:
        ``[N, 5]`` float32: means of x and y, then the second central moments xx, xy and yy. The
        middles of the outer pixels lie half a pixel inside of -1 and 1, as in ``grid_sample``.

    Raises:
        ValueError: If the images are in colour.
    """
    channels, height, width = pixels.shape[1:]
    if channels != 1:
        raise ValueError(f"images of one channel can be deskewed, but got {channels} channels")
    y = ((torch.arange(height, device=pixels.device) * 2 + 1) / height - 1).view(1, -1, 1)
    x = (torch.arange(width, device=pixels.device) * 2 + 1) / width - 1
    found = []
    for batch in torch.split(pixels[:, 0], BATCH):
        ink = batch.float() - batch.float().amin((1, 2), keepdim=True)
        ink = ink / ink.sum((1, 2), keepdim=True).clamp_min(1e-6)
        x_mean, y_mean = (ink * x).sum((1, 2)), (ink * y).sum((1, 2))
        x_from, y_from = x - x_mean.view(-1, 1, 1), y - y_mean.view(-1, 1, 1)
        products = (x_from * x_from, x_from * y_from, y_from * y_from)
        found.append(torch.stack([x_mean, y_mean, *((ink * p).sum((1, 2)) for p in products)], 1))
    return torch.cat(found)
