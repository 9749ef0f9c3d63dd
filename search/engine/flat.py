"""A network's parameters, gradients and running statistics as a few flat tensors.

An optimiser's step, zeroing the gradients and averaging the weights then cost a handful of kernels
however many layers there are; on tiny networks these kernels' overhead would show.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn


class FlatNetwork:
    """Moves a network's tensors into flat ones, of which its own become views.

    ``parameters`` has its ``grad`` set; ``statistics`` holds the floating-point buffers. The
    network's shapes, memory order and state_dict stay as they were.
    """

    def __init__(self, model: nn.Module) -> None:
        own = list(model.parameters())
        self.parameters = nn.Parameter(_like(own))
        self.gradients = torch.zeros_like(self.parameters)
        self.parameters.grad = self.gradients
        values = _views(self.parameters.data, own)
        for parameter, value, gradient in zip(
            own, values, _views(self.gradients, own), strict=True
        ):
            value.copy_(parameter.data)
            parameter.data = value
            parameter.grad = gradient
        buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self.statistics = _like(buffers)
        for buffer, value in zip(buffers, _views(self.statistics, buffers), strict=True):
            value.copy_(buffer)
            buffer.data = value

    def copy(self) -> list[Tensor]:
        """Parameters and statistics, copied."""
        return [self.parameters.detach().clone(), self.statistics.clone()]

    def load(self, tensors: Sequence[Tensor]) -> None:
        """Write what ``copy`` gave back into the network."""
        self.parameters.data.copy_(tensors[0])
        self.statistics.copy_(tensors[1])

    def average_into(self, averages: Sequence[Tensor], weight: float) -> None:
        """Move averages towards the current tensors by a share of the way."""
        averages[0].lerp_(self.parameters.detach(), weight)
        averages[1].lerp_(self.statistics, weight)


def _like(tensors: Sequence[Tensor]) -> Tensor:
    """A flat tensor with room for others, of their type and on their device."""
    if not tensors:
        return torch.zeros(0)
    count = sum(tensor.numel() for tensor in tensors)
    return torch.zeros(count, dtype=tensors[0].dtype, device=tensors[0].device)


def _views(flat: Tensor, like: Sequence[Tensor]) -> Iterator[Tensor]:
    """Pieces of a flat tensor with the shapes and the memory order of others."""
    offset = 0
    for tensor in like:
        yield flat.as_strided(tensor.shape, tensor.stride(), offset)
        offset += tensor.numel()
