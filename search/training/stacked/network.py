"""Several like networks, computed at once."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from search.training.arithmetic import Arithmetic
from search.training.exact import is_exactly
from search.training.stacked.tensors import StackedTensors

DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)


class StackedNetwork:
    """K like networks, each on images of its own; see ``Network``.

    ``torch.vmap`` over their tensors: whatever one of them computes in one kernel, all do. Torch's
    dropout layers draw for each network from a generator of its own, what one network alone would
    draw on a CPU.

    Args:
        models: Of one architecture.
        tensors: Theirs.
        arithmetic: As ``PlainNetwork``'s.
        device: Where they are.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
        tensors: StackedTensors,
        arithmetic: Arithmetic,
        device: torch.device,
    ) -> None:
        # Some layers are then computed for one network after the other: slower, and right.
        warnings.filterwarnings("ignore", "There is a performance drop because we have not yet")
        self._tensors, self._device = tensors, device
        self._bfloat16 = arithmetic.bfloat16
        self._count = len(models)
        self._generators: list[torch.Generator | None] = [None] * len(models)  # torch's own
        self._model = _with_dropouts(copy.deepcopy(models[0]), self._generators)
        every = torch.vmap(self._one, randomness="different")
        self._every = torch.compile(every) if arithmetic.compile else every

    def _one(self, parameters: dict[str, Any], buffers: dict[str, Any], images: Tensor) -> Tensor:
        logits: Tensor = functional_call(self._model, (parameters, buffers), (images,))
        return logits

    def draw_from(self, seeds: Sequence[int]) -> None:
        """Have each network's dropout drawn from a seed from now on."""
        self._generators[:] = [torch.Generator(self._device).manual_seed(seed) for seed in seeds]

    def __call__(self, images: Tensor, seed: int = 0, *, training: bool = True) -> Tensor:
        """``[K * N, classes]`` of ``[K * N, C, H, W]``: N images for each network in turn."""
        self._model.train(training)
        each = images.view(self._count, -1, *images.shape[1:])
        tensors = self._tensors
        low = self._bfloat16 and training
        with torch.autocast(self._device.type, torch.bfloat16) if low else nullcontext():
            logits: Tensor = self._every(tensors.named_parameters, tensors.named_buffers, each)
        logits = logits.flatten(0, 1)
        return logits.float() if low else logits


class _Dropout(nn.Module):
    """One of torch's dropout layers, of K networks with a generator each; inside ``vmap`` alone."""

    def __init__(self, layer: nn.Module, generators: Sequence[torch.Generator | None]) -> None:
        super().__init__()
        self.p = float(layer.p)  # type: ignore[arg-type]
        self.whole_maps = not isinstance(layer, nn.Dropout)
        self.generators = generators

    def forward(self, x: Tensor) -> Tensor:
        """Of the shape of ``x``."""
        if not self.training or self.p == 0:
            return x
        kept: Tensor = _Kept.apply(x.detach(), 1 - self.p, self.whole_maps, self.generators)
        return x * kept


class _Kept(torch.autograd.Function):
    """What dropout multiplies with: 0, or 1 / share for the share that is kept."""

    generate_vmap_rule = False

    @staticmethod
    def forward(x: Tensor, share: float, whole_maps: bool, generators: object) -> Tensor:
        """Not called: there is a ``vmap`` around it."""
        raise RuntimeError("stacked dropout needs its vmap")

    @staticmethod
    def setup_context(ctx: Any, inputs: Any, output: Any) -> None:
        """Nothing is differentiated."""

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        x: Tensor,
        share: float,
        whole_maps: bool,
        generators: Sequence[torch.Generator | None],
    ) -> tuple[Tensor, int]:
        """Masks ``[K, ...]``; maps of one network lie in memory as torch lays them out for one."""
        shape = list(x.movedim(in_dims[0] or 0, 0).shape[1:])
        if whole_maps:
            shape[2:] = [1] * (len(shape) - 2)
        order = torch.channels_last if len(shape) == 4 else torch.contiguous_format
        drawn = [
            torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=order)
            .bernoulli_(share, generator=generator)
            .div_(share or 1.0)
            for generator in generators
        ]
        return torch.stack(drawn), 0


def _with_dropouts(model: nn.Module, generators: Sequence[torch.Generator | None]) -> nn.Module:
    """A network whose exact dropout layers draw from generators."""
    if is_exactly(model, *DROPOUTS):
        return _Dropout(model, generators)
    for name, child in model.named_children():
        setattr(model, name, _with_dropouts(child, generators))
    return model
