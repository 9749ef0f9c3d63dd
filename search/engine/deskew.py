"""Deskewing: upright figures from slanted ones, by a shear that each image's own moments give.

Handwriting slants differently from writer to writer. Taking the slant out beforehand (LeCun et al.
1998, "Gradient-based learning applied to document recognition", section III) costs no parameters
and leaves a small network fewer forms of each digit to learn.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor, nn

from search.engine.images import Images

BATCH = 500  # images at once: their sampling positions take eight bytes a pixel


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
        bordered = nn.functional.pad(ink, (1, 2))
        at = left.long() + 1
        return low + (1 - share) * bordered.gather(3, at) + share * bordered.gather(3, at + 1)


def deskewed(images: Images) -> Images:
    """The same images upright, rounded to whole grey values."""
    deskew = Deskew()
    batches = [
        deskew(pixels.unsqueeze(1).float()).squeeze(1).round_().to(torch.uint8)
        for pixels in torch.split(images.pixels, BATCH)
    ]
    return dataclasses.replace(images, pixels=torch.cat(batches))
