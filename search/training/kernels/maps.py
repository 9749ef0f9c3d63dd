"""Feature maps in the memory order of the kernels, and the memory that a network reuses."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Map:
    """A batch's feature map: ``[C, H + 2 * padding, W + 2 * padding, N]``, zeros in the padding."""

    memory: Tensor
    padding: int = 0

    @classmethod
    def make(
        cls, channels: int, height: int, width: int, images: int, padding: int, dtype: torch.dtype
    ) -> Map:
        """A map of zeros."""
        shape = (channels, height + 2 * padding, width + 2 * padding, images)
        return cls(torch.zeros(shape, dtype=dtype), padding)

    @property
    def shape(self) -> tuple[int, int, int, int]:
        """Channels, height, width and images, without the padding."""
        channels, height, width, images = self.memory.shape
        return channels, height - 2 * self.padding, width - 2 * self.padding, images

    @property
    def inside(self) -> Tensor:
        """A view of all but the padding."""
        _, height, width, _ = self.shape
        return self.memory.narrow(1, self.padding, height).narrow(2, self.padding, width)

    @property
    def lines(self) -> tuple[int, int, int]:
        """Channels, height and the numbers in a row: what the kernels over rows take."""
        channels, height, width, images = self.shape
        return channels, height, width * images

    @property
    def pointer(self) -> int:
        """The address of the memory."""
        return self.memory.data_ptr()

    @property
    def edges(self) -> tuple[int, int]:
        """The padding in rows, and in numbers at either end of a row."""
        return self.padding, self.padding * self.memory.shape[3]

    def corner(self, margin: int) -> tuple[int, int, int]:
        """Address of the place that many rows and columns before the first; strides in bytes.

        Returns:
            Address, stride between channels, stride between rows.
        """
        size = self.memory.element_size()
        channel, row, column, _ = (stride * size for stride in self.memory.stride())
        return self.pointer + (self.padding - margin) * (row + column), channel, row


def torch_order(inside: Tensor) -> Tensor:
    """``[N, C, H, W]`` of a ``[C, H, W, N]`` tensor, without copying."""
    return inside.permute(3, 0, 1, 2)


def map_order(x: Tensor) -> Tensor:
    """``[C, H, W, N]`` of a ``[N, C, H, W]`` tensor, without copying."""
    return x.permute(1, 2, 3, 0)
