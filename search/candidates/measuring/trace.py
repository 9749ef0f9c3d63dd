"""A record of one run of a network: its operations, what each reads and writes, and whose it is.

Tensors are known by their memory, so that all views of one are one. What is worked out from
parameters and buffers alone, such as the turned filters of a ``RotatedConv2d`` or the weights of
``weight_norm``, is the same for every image: no work, and no activation.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.hooks import RemovableHandle

from search.candidates.costs import FLASH_OF_A_CHANNEL
from search.candidates.measuring.operations import (
    BATCH_NORMS,
    MACS,
    can_work_in_place,
    changes_its_input,
    name_of,
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """One operation on activations, which are known by numbers."""

    operation: str
    reads: tuple[int, ...]
    writes: tuple[int, ...]  # what takes fresh memory; not what it changes in place
    in_place: bool  # it may take the place of what it reads
    macs: int
    parameters: frozenset[int]  # by id()
    constants: tuple[tuple[int, int], ...] = ()  # the number of each, and its bytes in int8


@dataclass(kw_only=True)
class Part:
    """Steps that follow each other in one call of one module, outside its children."""

    call: int
    module: nn.Module
    name: str  # of the module in the network; empty for the network itself
    again: bool  # the module has been called before
    stated: bool  # the module says what it costs
    input_shape: tuple[int, ...] | None = None  # without the batch; None where it reads nothing
    output_shape: tuple[int, ...] = ()
    steps: list[Step] = field(default_factory=list)


@dataclass(frozen=True, kw_only=True)
class _Call:
    number: int
    module: nn.Module
    name: str
    again: bool


class Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Records a network's run: ``with Trace(network, image) as trace: network(image)``.

    Two attributes of a module are honoured. One with ``stated_macs``, a method that is given the
    shape of one image and returns its multiply-accumulates, counts as one operation of so many
    that takes memory for its output alone. One with ``copies_in_turn = True`` is counted in the
    same way, with none; behind it as many copies of each image as it has made are in the batch,
    and since they are taken in turn, an activation is that of one.

    Attributes:
        parts: All that was done, in order.
        sizes: Numbers in each activation of one image.
        image: The activation that went in.
    """

    def __init__(self, network: nn.Module, image: Tensor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.parts: list[Part] = []
        self.sizes: dict[int, int] = {}
        self._images, self._copies = len(image), 1
        self._kept: list[torch.UntypedStorage] = []  # or another could get the same id
        self._numbers: dict[int, int] = {}
        self._behind: dict[int, frozenset[int]] = {}  # the parameters in what is no activation
        for parameter in network.parameters():
            number = self.number(parameter)
            self._behind[number] = self._behind.get(number, frozenset()) | {id(parameter)}
        held = {*map(self.number, network.buffers())}
        self._held = held | set(self._behind)
        self.image = self.number(image)
        self.sizes[self.image] = self._size(image)
        self._calls: list[_Call] = []
        self._stated: _Call | None = None
        self._used: frozenset[int] = frozenset()  # parameters inside of it
        self._names: dict[nn.Module, str] = {}
        self._seen: set[nn.Module] = set()
        self._count = 0
        self._hooks: list[RemovableHandle] = []
        for name, module in network.named_modules():
            self._names[module] = name
            self._hooks.append(module.register_forward_pre_hook(self._enter, prepend=True))
            self._hooks.append(module.register_forward_hook(self._leave))

    def remove_hooks(self) -> None:
        """Leave the network as it was: ``build`` may give the same one to others."""
        for hook in self._hooks:
            hook.remove()

    def number(self, tensor: Tensor) -> int:
        """The number of a tensor's memory."""
        storage = tensor.untyped_storage()
        if id(storage) not in self._numbers:
            self._numbers[id(storage)] = len(self._kept)
            self._kept.append(storage)
        return self._numbers[id(storage)]

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run an operation and record it; one that consists of others, by these."""
        kwargs = kwargs or {}
        with self:  # in inference mode they come as a whole
            output = func.decompose(*args, **kwargs)
        if output is NotImplemented:
            output = func(*args, **kwargs)
            self._record(func, args, kwargs, output)
        return output

    def _record(
        self, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: object
    ) -> None:
        given = list(_tensors((*args, *kwargs.values())))
        written = list(_tensors((output,)))
        inputs = dict.fromkeys(map(self.number, given))
        used = frozenset().union(*(self._behind.get(number, ()) for number in inputs))
        reads = tuple(number for number in inputs if number in self.sizes)
        outputs = {self.number(tensor): tensor for tensor in written}
        if given and not reads:
            for number in outputs:
                self._behind[number] = self._behind.get(number, frozenset()) | used
            return
        # What was made of parameters and is now filled with activations is one from here on.
        fresh = [n for n in outputs if n not in self.sizes and n not in self._held]
        for number in fresh:
            self.sizes[number] = self._size(outputs[number])
        if self._stated:
            self._used |= used
            return
        part = self._part()
        if reads and part.input_shape is None:
            shown = next(tensor for tensor in given if self.number(tensor) in self.sizes)
            part.input_shape = tuple(shown.shape[1:])
        if written:
            part.output_shape = tuple(written[0].shape[1:])
        if not fresh and not changes_its_input(func):
            return  # a view
        name = name_of(func)
        macs = MACS[name](args, written[0]) if name in MACS else 0
        part.steps.append(
            Step(
                operation=name,
                reads=reads,
                writes=tuple(fresh),
                in_place=can_work_in_place(func),
                macs=macs // self._images,
                parameters=used,
                constants=tuple(self._constants(name, given, written)),
            )
        )

    def _constants(
        self, name: str, given: Sequence[Tensor], written: Sequence[Tensor]
    ) -> Iterator[tuple[int, int]]:
        """What an int8 network keeps for an operation; BatchNorm counts as folded into weights."""
        constants = [tensor for tensor in given if self.number(tensor) not in self.sizes]
        if not constants or name in BATCH_NORMS:
            return
        if name not in MACS:
            yield from ((self.number(tensor), tensor.numel()) for tensor in constants)
            return
        weight = max(constants, key=Tensor.numel)
        channels = written[0].shape[1 if name == "convolution" else -1]
        yield self.number(weight), weight.numel() + FLASH_OF_A_CHANNEL * channels

    def _part(self, *, stated: bool = False) -> Part:
        """The part that a step belongs to; a new one when another call has been between."""
        call = self._calls[-1]
        if not self.parts or self.parts[-1].call != call.number:
            self.parts.append(
                Part(
                    call=call.number,
                    module=call.module,
                    name=call.name,
                    again=call.again,
                    stated=stated,
                )
            )
        return self.parts[-1]

    def _size(self, tensor: Tensor) -> int:
        values = tensor.untyped_storage().nbytes() // tensor.element_size()
        return -(-values // (self._images * self._copies))

    def _enter(self, module: nn.Module, _given: object) -> None:
        self._count += 1
        call = _Call(
            number=self._count,
            module=module,
            name=self._names[module],
            again=module in self._seen,
        )
        self._seen.add(module)
        self._calls.append(call)
        if self._stated is None and (
            hasattr(module, "stated_macs") or getattr(module, "copies_in_turn", False)
        ):
            self._stated, self._used = call, frozenset()

    def _leave(self, module: nn.Module, given: tuple[Any, ...], output: object) -> None:
        if self._calls[-1] is self._stated:
            self._state(module, given, output)
            self._stated = None
        self._calls.pop()

    def _state(self, module: nn.Module, given: tuple[Any, ...], output: object) -> None:
        image, result = next(_tensors(given)), next(_tensors((output,)))
        macs, stated_macs = 0, getattr(module, "stated_macs", None)
        if stated_macs is not None:
            macs = int(stated_macs(tuple(image.shape[1:]))) * len(image) // self._images
        if getattr(module, "copies_in_turn", False):
            self._copies = max(1, len(result) // self._images)
        read, number = self.number(image), self.number(result)
        part = self._part(stated=True)
        part.input_shape, part.output_shape = tuple(image.shape[1:]), tuple(result.shape[1:])
        if number != read:
            self.sizes[number] = self._size(result)
        part.steps.append(
            Step(
                operation=type(module).__name__,
                reads=(read,),
                writes=(number,) * (number != read),
                in_place=False,
                macs=macs,
                parameters=self._used,
            )
        )


def _tensors(values: Iterable[object]) -> Iterator[Tensor]:
    for value in values:
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, list | tuple):
            yield from _tensors(value)
