"""Dropout's masks by the formula, in numpy; plain networks that use them; how tests compare."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from search.layers.rotated import RotatedConv2d
from search.training.kernels import available
from search.training.kernels.stages import dropout_key, threshold

needs_bfloat16 = pytest.mark.skipif(
    not available(bfloat16=True), reason="this processor does not multiply bfloat16"
)


def lowbias32(counters: np.ndarray) -> np.ndarray:
    bits = counters.astype(np.uint32)
    bits ^= bits >> np.uint32(16)
    bits *= np.uint32(0x7FEB352D)
    bits ^= bits >> np.uint32(15)
    bits *= np.uint32(0x846CA68B)
    return bits ^ (bits >> np.uint32(16))


def keeps(count: int, rate: float, key: int) -> np.ndarray:
    counters = (np.arange(count, dtype=np.uint64) + np.uint64(key)) % np.uint64(2**32)
    return lowbias32(counters) >= threshold(rate)


class HashDropout(nn.Module):
    """What the dropout layer of a fused network has to do, in its plain place in the network."""

    def __init__(self, layer: nn.Dropout | nn.Dropout2d, stream: int, seed: int) -> None:
        super().__init__()
        self.rate, self.stream, self.seed = layer.p, stream, seed
        self.channelwise = isinstance(layer, nn.Dropout2d)

    def forward(self, x: Tensor) -> Tensor:
        shape = list(x.shape)
        if self.channelwise:
            shape[2:] = [1] * (x.ndim - 2)
        if x.ndim == 4:
            shape.append(shape.pop(0))
        kept = keeps(int(np.prod(shape)), self.rate, dropout_key(self.seed, self.stream))
        mask = torch.from_numpy(kept.reshape(shape)).to(x.dtype) / (1 - self.rate)
        return x * (mask.movedim(-1, 0) if x.ndim == 4 else mask)


def plain_twin(model: nn.Sequential, seed: int) -> nn.Sequential:
    """A float64 copy whose dropout layers have the masks of the fused network.

    A layer of its own draws from stream 2 * its place; in a stage, the places count from the
    convolution, and the dropout behind a pooling that follows ReLU is stream 2 * place + 1.
    """
    twin = copy.deepcopy(model).double()
    layers = list(twin)
    for at, layer in enumerate(layers):
        if isinstance(layer, nn.Dropout | nn.Dropout2d):
            twin[at] = HashDropout(layer, _stream(layers, at), seed)
        elif isinstance(layer, nn.ReLU):
            twin[at] = nn.ReLU()
    return twin


def _stream(layers: list[nn.Module], at: int) -> int:
    """Read off the letters of the layers before: an independent statement of what a stage is."""
    letters = "".join(map(_letter, layers[: at + 1]))
    for stage, behind_pool in (
        *(("cbrd", 0), ("cpbrd", 0)),
        *(("cbrpd", 1), ("cbrdpd", 1), ("cbprd", 1)),
        *(("crd", 0), ("crpd", 1), ("crdpd", 1), ("cprd", 1)),
    ):
        if letters.endswith(stage):
            return 2 * (at - len(stage) + 1) + behind_pool
    return 2 * at


def _letter(layer: nn.Module) -> str:
    if isinstance(layer, RotatedConv2d):
        return "c"
    if isinstance(layer, nn.Conv2d):
        padding, kernel = layer.padding[0], layer.kernel_size[0]
        assert isinstance(padding, int)
        return "c" if layer.stride == (1, 1) and padding < kernel else "x"
    if isinstance(layer, nn.BatchNorm2d):
        return "b" if layer.affine else "x"
    return {nn.MaxPool2d: "p", nn.ReLU: "r", nn.Dropout: "d"}.get(type(layer), "x")


def shake_norms(model: nn.Module) -> None:
    """Give BatchNorm weights of both signs: as built they are all one."""
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d) and layer.affine:
            nn.init.normal_(layer.weight, 0.3, 1)
            nn.init.normal_(layer.bias, 0, 0.3)


def backward(logits: Tensor, labels: Tensor) -> None:
    functional.cross_entropy(logits, labels).backward()  # type: ignore[no-untyped-call]


def gradient(model: nn.Module) -> Tensor:
    """All gradients side by side."""
    parts = [p.grad.flatten().double() for p in model.parameters() if p.grad is not None]
    return torch.cat(parts)


def error(value: Tensor, truth: Tensor) -> float:
    """The difference's length against the truth's."""
    value, truth = value.detach().double(), truth.detach()
    return float((value - truth).norm() / truth.norm().clamp_min(1e-12))
