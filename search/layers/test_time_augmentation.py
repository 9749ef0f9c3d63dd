"""Test-time augmentation: an image is classified three times, moved by a pixel, and averaged.

Pooling looks at pixels in fixed pairs, so what a network answers changes a little when the image
moves by one pixel. Averaging over moved copies at test time (Krizhevsky et al. 2012, "ImageNet
classification with deep convolutional neural networks", section 4.1) takes part of that scatter out
without a parameter. It costs three times the multiply-accumulates.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ShiftedCopies(nn.Module):
    """Every image as it is, then moved by one pixel along the diagonal, down and up.

    The lines that come in repeat the edge.
    """

    copies_in_turn = True  # its memory counts as one copy's: see search.candidates.measuring

    def forward(self, images: Tensor) -> Tensor:
        """``[3 * N, C, H, W]`` of ``[N, C, H, W]``: all images, then all of them moved."""
        padded = nn.functional.pad(images, (1, 1, 1, 1), mode="replicate")
        return torch.cat([images, padded[:, :, :-2, :-2], padded[:, :, 2:, 2:]])


class MeanOfCopies(nn.Module):
    """The mean of the logits of an image's copies: of their probabilities the geometric mean."""

    copies_in_turn = True

    def forward(self, logits: Tensor) -> Tensor:
        """``[N, classes]`` of ``[3 * N, classes]``, in the order of ``ShiftedCopies``."""
        return logits.view(3, -1, logits.shape[1]).mean(0)
