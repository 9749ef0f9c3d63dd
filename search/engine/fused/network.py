"""A plain network's passes, computed by compiled stages where it has them."""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor, nn

from search.engine.fused.chain import Chain
from search.engine.fused.passes import load
from search.engine.fused.stages import Masked, Stage, Step, dropout_key, steps_of, threshold


class FusedNetwork:
    """Computes what a sequential network computes, faster on a CPU.

    The plain network keeps owning everything: gradients go to its parameters, the running
    statistics are its buffers, and its ``state_dict`` does not change. Layers that no stage
    expresses run as themselves.

    Dropout does not draw from torch's generator: its masks are a function of the seed, the
    layer's place in the network and the value's place in the map (``numeric.hash32``).

    Args:
        model: On the CPU, of float32 (or float64) parameters.
        bfloat16: Train with maps of bfloat16, sums and statistics in float32. Evaluation is in
            the parameters' type in any case.
    """

    def __init__(self, model: nn.Sequential, *, bfloat16: bool = False) -> None:
        self._dtype = next(model.parameters()).dtype
        self._exact = _chained(model, self._dtype)
        self._training = _chained(model, torch.bfloat16) if bfloat16 else self._exact

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
        x = images.to(self._dtype)
        for step in self._training if training else self._exact:
            if isinstance(step, Chain):
                x = step(x, seed, training=training)
            elif isinstance(step, Masked):
                x = self._masked(step, x, seed) if training else x
            elif type(step) is nn.AdaptiveAvgPool2d and step.output_size in (1, (1, 1)):
                x = x.mean((2, 3), keepdim=True)
            else:
                assert isinstance(step, nn.Module)
                # A stage that comes later needs what an in-place layer would overwrite.
                x = step.train(training)(x.clone() if getattr(step, "inplace", False) else x)
        return x

    def _masked(self, step: Masked, x: Tensor, seed: int) -> Tensor:
        shape = list(x.shape)
        if step.channelwise:
            shape[2:] = [1] * (x.ndim - 2)
        if x.ndim == 4:  # counted in the order of memory, as in a stage
            shape.append(shape.pop(0))
        mask = torch.empty(shape, dtype=self._dtype)
        load(self._dtype).mask(
            *(mask.data_ptr(), mask.numel(), 1.0 / (1.0 - step.rate)),
            *(dropout_key(seed, 2 * step.place), threshold(step.rate)),
        )
        return x * (mask.movedim(-1, 0) if x.ndim == 4 else mask)


def _chained(model: nn.Module, dtype: torch.dtype) -> list[Chain | Step]:
    """The steps of a network, with stages that follow each other in one."""
    chained: list[Chain | Step] = []
    for are_stages, steps in groupby(steps_of(model), lambda step: isinstance(step, Stage)):
        if are_stages:
            stages = [step for step in steps if isinstance(step, Stage)]
            chained.append(Chain(stages, dtype))
        else:
            chained.extend(steps)
    return chained
