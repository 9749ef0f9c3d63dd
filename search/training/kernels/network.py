"""A network's kernels, computed by compiled stages where it has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from functools import partial
from itertools import groupby

import torch
from torch import Tensor, nn

from search.training.exact import has_global_hooks, is_exactly, is_sequence
from search.training.kernels.chain import Chain
from search.training.kernels.loading import load
from search.training.kernels.stages import (
    Masked,
    Stage,
    Step,
    dropout_key,
    flat,
    is_plain_convolution,
    steps_of,
    threshold,
)

PLACES = 1 << 20  # of layers, for each sequence: the dropout of each place is another
CALLS = 1 << 40  # places from one call of a sequence to the next


class FusedNetwork:
    """Computes what a network computes, faster on a CPU.

    The network keeps owning everything: gradients go to its parameters, the running statistics are
    its buffers, and its ``state_dict`` does not change. Wherever it calls an ``nn.Sequential``, the
    layers in it that stages express run as these; all else runs as torch runs it. Which layers
    these are is looked at anew whenever training and evaluation take turns.

    Dropout in such a sequence does not draw from torch's generator: its masks are a function of
    the seed, the layer's place and the value's place in the map (``numeric.hash32``).

    Args:
        model: On the CPU.
        bfloat16: Train with maps of bfloat16, sums and statistics in float32, and what is in no
            stage under autocast, but for a classifier's layers. Evaluation is in the parameters'
            type in any case.
    """

    def __init__(self, model: nn.Module, *, bfloat16: bool = False) -> None:
        self._model = model
        types = {p.dtype for p in model.parameters() if p.is_floating_point()}
        self._dtype = types.pop() if len(types) == 1 else torch.float32
        self._bfloat16 = bfloat16
        self._modes: dict[bool, list[_Sequence]] = {True: [], False: []}
        self._turned: list[nn.Module] = []  # the modules that are in this mode:
        self._training: bool | None = None

    def __call__(self, images: Tensor, seed: int = 0, *, training: bool = True) -> Tensor:
        """Logits of a batch, in training with a gradient; outside of autocast.

        Args:
            images: ``[N, 1, H, W]`` floating point.
            seed: Of this step's dropout. Equal seeds give equal results to the last bit, in any
                process on this kind of processor; each step needs another.
            training: Statistics of the batch and dropout; else the running statistics.

        Returns:
            ``[N, classes]`` of the parameters' type.
        """
        if training is not self._training or any(
            module.training is not training for module in self._turned
        ):
            self._turn_to(training)
        sequences = self._modes[training]
        for sequence in sequences:
            sequence.begin(seed)
        low = self._bfloat16 and training
        whole = _autocast(low and not is_sequence(self._model))  # a sequence does so by its layers
        with _in_place_of(sequences), whole:
            logits: Tensor = self._model(images.to(self._dtype))
        return logits.to(self._dtype) if low else logits

    def _turn_to(self, training: bool) -> None:
        self._training = training
        self._model.train(training)
        self._turned = [module for module in self._model.modules() if module.training is training]
        known = {sequence.module: sequence for sequence in self._modes[training]}
        self._modes[training] = []
        for module in dict.fromkeys(_sequences(self._model)) if not has_global_hooks() else ():
            steps = steps_of(module, PLACES * len(self._modes[training]))
            before = known.get(module)
            if before is None or before.steps != steps:
                low = self._bfloat16 and training
                before = _Sequence(module, steps, training=training, low=low)
            self._modes[training].append(before)


def _sequences(module: nn.Module) -> Iterator[nn.Sequential]:
    """The sequences that a network calls and that would gain by it, outer ones first."""
    layers = list(module.children())
    if is_sequence(module):
        assert isinstance(module, nn.Sequential)
        layers = list(flat(module))
        dropouts = (nn.Dropout, nn.Dropout2d)
        if any(is_plain_convolution(layer) or is_exactly(layer, *dropouts) for layer in layers):
            yield module
    for layer in layers:
        yield from _sequences(layer)


@contextmanager
def _in_place_of(sequences: list[_Sequence]) -> Iterator[None]:
    """Calling one of their modules runs the sequence; afterwards the modules are as they were."""
    for sequence in sequences:
        vars(sequence.module)["forward"] = sequence
    try:
        yield
    finally:
        for sequence in sequences:
            del vars(sequence.module)["forward"]


def _autocast(enabled: bool) -> AbstractContextManager[object]:
    return torch.autocast("cpu", torch.bfloat16) if enabled else nullcontext()


class _Sequence:
    """Runs an ``nn.Sequential``, with chains of stages for the layers that are some.

    One that a network calls several times before it goes back has memory for each of the calls.

    Args:
        module: Whose layers they are.
        steps: Of its layers.
        training: Whether in training.
        low: In bfloat16.
    """

    def __init__(
        self, module: nn.Sequential, steps: list[Step], *, training: bool, low: bool
    ) -> None:
        self.module = module
        self.steps = steps
        self._training = training
        self._low = low
        self._seed = 0
        self._calls = 0
        self._runs: list[list[Callable[[Tensor], Tensor]]] = []

    def begin(self, seed: int) -> None:
        """Make ready for the next pass of the network."""
        self._seed, self._calls = seed, 0

    def __call__(self, input: Tensor) -> Tensor:
        """What the module's own ``forward`` gives of its ``input``."""
        call = self._calls
        self._calls += self._training
        if call == len(self._runs):
            self._runs.append(list(self._made([_moved(s, call * CALLS) for s in self.steps])))
        x = input
        for step in self._runs[call]:
            x = step(x)
        return x

    def _made(self, steps: list[Step]) -> Iterator[Callable[[Tensor], Tensor]]:
        """The steps with memory of their own; stages that follow each other are one chain."""
        for dtype, group in groupby(steps, _stage_type):
            if dtype is None:
                yield from map(self._alone, group)
                continue
            stages = [step for step in group if isinstance(step, Stage)]
            low = self._low and dtype == torch.float32
            yield partial(self._chained, Chain(stages, torch.bfloat16 if low else dtype))

    def _alone(self, step: Step) -> Callable[[Tensor], Tensor]:
        if isinstance(step, Masked):
            return partial(self._masked, step)
        assert isinstance(step, nn.Module)
        if is_exactly(step, nn.AdaptiveAvgPool2d) and step.output_size in (1, (1, 1)):
            return lambda x: x.mean((-2, -1), keepdim=True)
        return partial(self._as_torch, step, self._low and not _is_classifier(step))

    def _chained(self, chain: Chain, x: Tensor) -> Tensor:
        if chain.can_run(x, training=self._training):
            return chain(x, self._seed, training=self._training)
        for stage in chain.stages:
            for layer in stage.layers:
                x = self._as_torch(layer, self._low, x)
        return x

    def _masked(self, step: Masked, x: Tensor) -> Tensor:
        layer = step.layer
        as_torch = not self._training or not layer.training or not torch.is_grad_enabled()
        if as_torch or layer.p >= 1 or layer.inplace:
            done: Tensor = layer(x)
            return done
        return masked(step, x, self._seed)

    def _as_torch(self, layer: nn.Module, low: bool, x: Tensor) -> Tensor:
        if not low and self._low and x.dtype == torch.bfloat16 and not _in_autocast():
            x = x.float()
        with _autocast(low and not _in_autocast()):
            y: Tensor = layer(x)
        return y


def _moved(step: Step, places: int) -> Step:
    """A step whose dropout draws from other places."""
    if isinstance(step, Stage | Masked):
        return replace(step, place=step.place + places)
    return step


def _stage_type(step: Step) -> torch.dtype | None:
    return step.convolution.weight.dtype if isinstance(step, Stage) else None


def _in_autocast() -> bool:
    return torch.is_autocast_enabled("cpu")


def _is_classifier(layer: nn.Module) -> bool:
    """Whether a layer is one of those that classify the last map.

    They stay in float32: a hundredth of the work, and the last digits of the logits.
    """
    depthwise = is_exactly(layer, nn.Conv2d) and layer.groups == layer.in_channels
    return is_exactly(layer, nn.Linear) or depthwise


def masked(step: Masked, x: Tensor, seed: int) -> Tensor:
    """Dropout in training, with masks by a seed."""
    layer = step.layer
    shape = list(x.shape)
    if isinstance(layer, nn.Dropout2d):
        shape[2:] = [1] * (x.ndim - 2)
    if x.ndim == 4:  # counted in the order of memory, as in a stage
        shape.append(shape.pop(0))
    dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
    mask = torch.empty(shape, dtype=dtype)
    load(dtype).mask(
        *(mask.data_ptr(), mask.numel(), 1.0 / (1.0 - layer.p)),
        *(dropout_key(seed, 2 * step.place), threshold(layer.p)),
    )
    return x * (mask.movedim(-1, 0) if x.ndim == 4 else mask).to(x.dtype)
