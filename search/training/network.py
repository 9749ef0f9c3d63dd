"""How a network computes a batch: by compiled kernels on a CPU, else as torch does."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Protocol

import torch
from torch import Tensor, nn

from search.training import kernels as fused
from search.training.arithmetic import Arithmetic


class Network(Protocol):
    """Logits from images, in training with a gradient."""

    def __call__(self, images: Tensor, seed: int = 0, *, training: bool = True) -> Tensor:
        """``[N, classes]`` float32 of ``[N, C, H, W]``; the seed is of dropout masks."""
        ...


class PlainNetwork:
    """The network as torch runs it; training in bfloat16 by autocast, evaluation in float32.

    Dropout draws from torch's generator.
    """

    def __init__(self, model: nn.Module, arithmetic: Arithmetic, device: torch.device) -> None:
        self._model = model
        self._called = torch.compile(model) if arithmetic.compile else model
        self._bfloat16 = arithmetic.bfloat16
        self._order = memory_order(arithmetic)
        self._device = device.type

    def __call__(self, images: Tensor, seed: int = 0, *, training: bool = True) -> Tensor:
        """See ``Network``."""
        self._model.train(training)
        x = images.to(memory_format=self._order)
        low = self._bfloat16 and training
        with torch.autocast(self._device, torch.bfloat16) if low else nullcontext():
            logits: Tensor = self._called(x)
        return logits.float()


def memory_order(arithmetic: Arithmetic) -> torch.memory_format:
    """The order in memory of maps, and of the weights of convolutions."""
    return torch.channels_last if arithmetic.channels_last else torch.contiguous_format


def make_network(model: nn.Module, arithmetic: Arithmetic, device: torch.device) -> Network:
    """The fastest way to compute a model on a device."""
    if uses_fused(arithmetic, device):
        return fused.FusedNetwork(model, bfloat16=arithmetic.bfloat16)
    return PlainNetwork(model, arithmetic, device)


def uses_fused(arithmetic: Arithmetic, device: torch.device) -> bool:
    """Whether computing on a device runs through compiled kernels."""
    plain = arithmetic.compile or arithmetic.stacked or not arithmetic.channels_last
    wanted = arithmetic.fused and not plain and device.type == "cpu"
    return wanted and fused.available(bfloat16=arithmetic.bfloat16)
