"""Convolutions whose filters look for the same thing in four rotations.

A stroke is a stroke whichever way it runs, but a plain convolution learns each direction anew. In a
convolution over the group p4 (Cohen and Welling 2016, "Group equivariant convolutional networks",
section 6) every learned filter gives four output channels, one for each rotation by 90 degrees, so
that four times as many channels come out of as many weights. The classifier still tells the
rotations apart, and so may a 6 and a 9 differ.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn


class RotatedConv2d(nn.Module):
    """A convolution to four rotations of each of its filters.

    The weight is ``[filters, in_channels, k, k]``. Output channel ``r * filters + f`` is filter
    ``f`` turned ``r`` times by 90 degrees. Where the input is of this kind itself (``of_rotated``),
    turning a filter also permutes what it reads: the weights that read rotation ``s`` of a feature
    then read rotation ``s + r``. The bias is one value a filter.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        padding: int = 0,
        bias: bool = True,
        of_rotated: bool = False,
    ) -> None:
        super().__init__()
        self.in_channels, self.out_channels = in_channels, out_channels
        self.kernel_size, self.padding = (kernel_size, kernel_size), (padding, padding)
        self.of_rotated = of_rotated
        weight = torch.empty(out_channels // 4, in_channels, kernel_size, kernel_size)
        self.weight = nn.Parameter(weight)
        nn.init.kaiming_uniform_(self.weight, a=5**0.5)  # as torch's convolutions
        bound = (in_channels * kernel_size**2) ** -0.5
        offsets = torch.empty(out_channels // 4).uniform_(-bound, bound) if bias else None
        self.bias = None if offsets is None else nn.Parameter(offsets)

    def forward(self, x: Tensor) -> Tensor:
        """``[N, out_channels, H', W']`` of ``[N, in_channels, H, W]``."""
        bias = None if self.bias is None else self.bias.repeat(4)
        return nn.functional.conv2d(x, self.expanded(self.weight), bias, padding=self.padding)

    def expanded(self, weight: Tensor) -> Tensor:
        """The weight ``[out_channels, in_channels, k, k]`` of the plain convolution that it is."""
        read = weight.reshape(len(weight), 4 if self.of_rotated else 1, -1, *self.kernel_size)
        turned = [torch.rot90(read.roll(r, 1), r, (-2, -1)) for r in range(4)]
        return torch.cat(turned).flatten(1, 2)

    def extra_repr(self) -> str:
        """The arguments, as a call of the class has them."""
        kernel, padding, bias = self.kernel_size[0], self.padding[0], self.bias is not None
        given = f"{self.in_channels}, {self.out_channels}, {kernel}, padding={padding}"
        return f"{given}, bias={bias}, of_rotated={self.of_rotated}"


class RotatedBatchNorm2d(nn.BatchNorm2d):
    """BatchNorm behind a ``RotatedConv2d``: all rotations of a filter have its weight and bias.

    Mean and variance are each channel's own: strokes do not run in all directions equally often.
    """

    def __init__(self, num_features: int) -> None:
        super().__init__(num_features)
        self.weight = nn.Parameter(torch.ones(num_features // 4))
        self.bias = nn.Parameter(torch.zeros(num_features // 4))

    def forward(self, x: Tensor) -> Tensor:
        """``[N, num_features, H, W]`` in and out."""
        assert self.num_batches_tracked is not None and self.momentum is not None
        if self.training:
            self.num_batches_tracked.add_(1)
        weight, bias = self.weight.repeat(4), self.bias.repeat(4)
        return nn.functional.batch_norm(
            *(x, self.running_mean, self.running_var, weight, bias),
            *(self.training, self.momentum, self.eps),
        )

    def extra_repr(self) -> str:
        """The argument, as a call of the class has it."""
        return f"{self.num_features}"
