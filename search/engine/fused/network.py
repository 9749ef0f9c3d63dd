"""A plain network's training step, computed by fused stages where it has them."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from search.engine.fused.calls import dropout_mask
from search.engine.fused.functions import ConvolutionFunction, StageFunction
from search.engine.fused.stages import (
    Masked,
    Stage,
    Step,
    is_plain_convolution,
    padding_of,
    steps_of,
)


class FusedNetwork:
    """Computes what a sequential network computes in training mode, faster on a CPU.

    The plain network keeps owning everything: gradients go to its parameters, the running
    statistics are its buffers, and its ``state_dict`` and evaluation do not change. Layers that
    no stage expresses run as themselves.

    Dropout does not draw from torch's generator: its masks are a function of the seed, the
    layer's place in the network and the value's place in the map (``numeric.hash32``).

    Args:
        model: On the CPU, of float32 (or float64) parameters, best in channels-last order.
        bfloat16: Keep activations as bfloat16, between sums and statistics in float32. Else they
            are of the parameters' type.
    """

    def __init__(self, model: nn.Sequential, *, bfloat16: bool = False) -> None:
        self._model = model
        self._exact = next(model.parameters()).dtype  # of parameters, statistics and logits
        self._dtype = torch.bfloat16 if bfloat16 else self._exact
        self._steps = steps_of(model)

    def __call__(self, images: Tensor, seed: int) -> Tensor:
        """Logits of a batch, with a gradient; outside of autocast.

        Args:
            images: ``[N, 1, H, W]`` floating point.
            seed: Of this step's dropout. Equal seeds give equal results to the last bit, in any
                process on this kind of processor; each step needs another.

        Returns:
            ``[N, classes]`` of the parameters' type.
        """
        x = images.to(self._dtype)
        for step in self._steps:
            x = self._run(step, x, seed)
        return x.to(self._exact)

    def _run(self, step: Step, x: Tensor, seed: int) -> Tensor:
        if isinstance(step, Stage):
            return self._stage(step, x, seed)
        if isinstance(step, Masked):
            return self._masked(step, x, seed)
        if isinstance(step, nn.Conv2d) and is_plain_convolution(step):
            x, low = x.to(self._dtype), self._low(step.weight)
            y: Tensor = ConvolutionFunction.apply(x, step.weight, step.bias, low, padding_of(step))
            return y
        if isinstance(step, nn.AdaptiveAvgPool2d) and step.output_size in (1, (1, 1)):
            return x.mean((2, 3), keepdim=True, dtype=self._exact)
        if isinstance(step, nn.Linear):  # its inputs are few: exactness costs nothing
            return functional.linear(x.to(self._exact), step.weight, step.bias)
        if type(step) is nn.ReLU:  # never in place: a stage needs its output for its gradient
            return functional.relu(x)
        if getattr(step, "inplace", False):
            x = x.clone()
        with torch.autocast("cpu", torch.bfloat16, enabled=self._dtype is torch.bfloat16):
            out: Tensor = step(x)
        return out

    def _stage(self, stage: Stage, x: Tensor, seed: int) -> Tensor:
        convolution, norm = stage.convolution, stage.norm
        assert norm.num_batches_tracked is not None
        norm.num_batches_tracked.add_(1)
        y: Tensor = StageFunction.apply(
            *(x.to(self._dtype), convolution.weight, convolution.bias, norm.weight, norm.bias),
            *(self._low(convolution.weight), stage, seed),
        )
        return y

    def _low(self, weight: Tensor) -> Tensor:
        return weight.detach().to(self._dtype, memory_format=torch.channels_last)

    def _masked(self, step: Masked, x: Tensor, seed: int) -> Tensor:
        shape = list(x.shape)
        if step.channelwise:
            shape[2:] = [1] * (x.ndim - 2)
        if x.ndim == 4:  # counted in the order of memory, as in a stage
            shape.append(shape.pop(1))
        mask = dropout_mask(tuple(shape), step.rate, seed, step.place, self._dtype)
        return x * (mask.movedim(-1, 1) if x.ndim == 4 else mask).to(x.dtype)
