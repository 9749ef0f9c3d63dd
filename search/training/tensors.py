"""What training changes in a network: its parameters and running statistics, and their averages.

Where nothing but torch's own layers follow each other, all of a network's tensors become views of a
few flat ones. An optimiser's step, zeroing the gradients and averaging the weights then cost a
handful of kernels however many layers there are; on tiny networks these kernels' overhead would
show. In any other network a parameter may be frozen, or take no part in a step, in which case torch
neither moves nor decays it: there every tensor stays for itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

from search.training.exact import has_hooks, is_sequence, is_unchanged

STATISTICS = ("running_mean", "running_var")  # what torch's normalising layers call theirs


class Tensors(Protocol):
    """A network's tensors, for an optimiser and for averages."""

    parameters: list[nn.Parameter]  # for the optimiser

    def forget_gradients(self) -> None:
        """Begin a step."""

    def copy(self) -> list[Tensor]:
        """Parameters and running statistics, copied."""
        ...

    def load(self, tensors: Sequence[Tensor]) -> None:
        """Write what ``copy`` gave back into the network."""

    def average_into(self, averages: Sequence[Tensor], weight: float) -> None:
        """Move averages, begun by ``copy``, towards the current tensors by a share of the way."""


def tensors_of(model: nn.Module) -> Tensors:
    """A network's tensors; after this its parameters may be views of others."""
    return FlatTensors(model) if can_be_flat(model) else OwnTensors(model)


def can_be_flat(model: nn.Module) -> bool:
    """Whether every parameter takes part in every step, and they can lie side by side."""
    layers = list(_layers(model))
    parameters = list(model.parameters())
    alone = {p.untyped_storage().data_ptr() for p in parameters if p.device.type == "cpu"}
    return (
        all(is_unchanged(layer) and _is_known(layer) for layer in layers)
        and len({(p.dtype, p.device) for p in parameters}) == 1
        and parameters[0].dtype == torch.float32
        and all(is_dense(tensor) for tensor in (*parameters, *model.buffers()))
        and (parameters[0].device.type != "cpu" or len(alone) == len(parameters))
    )


def _layers(model: nn.Module) -> Iterator[nn.Module]:
    if not is_sequence(model) or has_hooks(model):
        yield model
        return
    for child in model.children():
        yield from _layers(child)


def _is_known(layer: nn.Module) -> bool:
    """Whether a layer has no others in it, and is torch's or one of ours."""
    module = type(layer).__module__
    known = module.startswith(("torch.nn.modules.", "search.layers."))
    alone = next(layer.children(), None) is None
    holds_nothing = next(layer.parameters(), None) is None and next(layer.buffers(), None) is None
    return alone and (known or holds_nothing)


def is_dense(tensor: Tensor) -> bool:
    """Whether a tensor has memory of its own without gaps."""
    ordered = tensor.is_contiguous() or (
        tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    )
    return ordered and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


class FlatTensors:
    """A network's tensors as views of flat ones, which the optimiser and averages work on.

    The network's shapes, memory order and state_dict stay as they were.
    """

    def __init__(self, model: nn.Module) -> None:
        own = list(model.parameters())
        flat = nn.Parameter(_like(own))
        self._gradients = flat.grad = torch.zeros_like(flat)
        self.parameters = [flat]
        values = _views(flat.data, own)
        for parameter, value, gradient in zip(
            own, values, _views(self._gradients, own), strict=True
        ):
            value.copy_(parameter.data)
            parameter.data = value
            parameter.grad = gradient
        buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        self._statistics = _like(buffers)
        for buffer, value in zip(buffers, _views(self._statistics, buffers), strict=True):
            value.copy_(buffer)
            buffer.data = value

    def forget_gradients(self) -> None:
        """See ``Tensors``; gradients stay where they are, as zeros."""
        self._gradients.zero_()

    def copy(self) -> list[Tensor]:
        """See ``Tensors``."""
        return [self.parameters[0].detach().clone(), self._statistics.clone()]

    def load(self, tensors: Sequence[Tensor]) -> None:
        """See ``Tensors``."""
        self.parameters[0].data.copy_(tensors[0])
        self._statistics.copy_(tensors[1])

    def average_into(self, averages: Sequence[Tensor], weight: float) -> None:
        """See ``Tensors``."""
        averages[0].lerp_(self.parameters[0].detach(), weight)
        averages[1].lerp_(self._statistics, weight)


class OwnTensors:
    """A network's tensors, each for itself.

    What is frozen, and buffers that are no running statistics, are not averaged: the averaged
    network has them as they are.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.parameters = list(model.parameters())

    def forget_gradients(self) -> None:
        """See ``Tensors``; a parameter that then gets none is left alone by the optimiser."""
        for parameter in self.parameters:
            parameter.grad = None

    def copy(self) -> list[Tensor]:
        """See ``Tensors``."""
        return [tensor.clone() for tensor in self._current()]

    def load(self, tensors: Sequence[Tensor]) -> None:
        """See ``Tensors``."""
        for tensor, kept in zip(self._current(), tensors, strict=True):
            tensor.copy_(kept)

    def average_into(self, averages: Sequence[Tensor], weight: float) -> None:
        """See ``Tensors``."""
        frozen = [not parameter.requires_grad for parameter in self.parameters]
        for at, (average, tensor) in enumerate(zip(averages, self._current(), strict=True)):
            if at < len(frozen) and frozen[at]:
                average.copy_(tensor)
            else:
                average.lerp_(tensor, weight)

    def _current(self) -> list[Tensor]:
        """As they are now: a layer may have put another tensor in a buffer's place."""
        return [*(parameter.detach() for parameter in self.parameters), *self._statistics()]

    def _statistics(self) -> Iterator[Tensor]:
        for module in self._model.modules():
            for name, buffer in module.named_buffers(recurse=False):
                if name in STATISTICS and buffer.is_floating_point():
                    yield buffer


def state_of(model: nn.Module) -> dict[str, object]:
    """All that a network holds, to be put back by ``load_state``: copies."""
    state = {
        name: value.detach().clone() if isinstance(value, Tensor) else value
        for name, value in model.state_dict().items()
    }
    buffers = {name: b.clone() for name, b in model.named_buffers() if name not in state}
    return {"state": state, "buffers": buffers}


def load_state(model: nn.Module, state: dict[str, object]) -> None:
    """Put back what ``state_of`` gave; the tensors stay where they are."""
    model.load_state_dict(state["state"])  # type: ignore[arg-type]
    kept = state["buffers"]
    assert isinstance(kept, dict)
    for name, buffer in model.named_buffers():
        if name in kept:
            buffer.copy_(kept[name])


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
