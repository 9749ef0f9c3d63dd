"""Stages that follow each other, as one differentiable function of torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from search.training.kernels.layer import Layer
from search.training.kernels.maps import Map, map_order, torch_order
from search.training.kernels.stages import Stage


class Chain:
    """Computes stages in a row, on batches of whatever size, with memory that it keeps.

    Maps inside are of `dtype`; what comes out is of the type of what goes in, or of `dtype` within
    autocast.

    Only the last forward pass in training can be gone back through, once.
    """

    def __init__(self, stages: Sequence[Stage], dtype: torch.dtype) -> None:
        self.stages = tuple(stages)
        self.dtype = dtype
        self._modal = [layer for stage in stages for layer in stage.modal]
        self._dropouts = [layer for layer in self._modal if isinstance(layer, nn.Dropout)]
        self._runs: dict[tuple[int, ...], _Run] = {}
        self.runs = 0

    def can_run(self, x: Tensor, *, training: bool) -> bool:
        """Whether torch's layers would compute the same, rather than something else or an error.

        Args:
            x: What is to go in.
            training: Whether the network is in training.
        """
        # Without a gradient a pass may be made again with one, and wants the same dropout then.
        gradient = torch.is_grad_enabled()
        return (
            (gradient or not self._dropouts if training else not gradient)
            and all(layer.training is training for layer in self._modal)
            and not any(layer.p >= 1 for layer in self._dropouts)
            and x.ndim == 4
            and x.is_floating_point()
            and (tuple(x.shape) in self._runs or self._fits(x))
        )

    def _fits(self, x: Tensor) -> bool:
        """Whether maps have the channels that each convolution reads, and do not vanish."""
        images, channels, height, width = x.shape
        for stage in self.stages:
            if stage.convolution.in_channels != channels:
                return False
            shrink = 2 * stage.padding - stage.kernel + 1
            channels = stage.convolution.out_channels
            height, width = height + shrink, width + shrink
            values = (height * width, height // 2 * (width // 2))[stage.pool == "early"]
            if stage.pool != "none":
                smallest, height, width = min(height, width) // 2, height // 2, width // 2
            else:
                smallest = min(height, width)
            if smallest < 1 or images * values <= int(stage.norm is not None):
                return False
        return images > 0

    def __call__(self, x: Tensor, seed: int, *, training: bool) -> Tensor:
        """``[N, C, H, W]`` in and out; out in the memory order of maps."""
        parameters = [parameter for stage in self.stages for parameter in stage.parameters]
        y: Tensor = _Stages.apply(x, seed, training, self, *parameters)
        return y

    def run(self, x: Tensor) -> _Run:
        """The layers with memory for maps of this shape."""
        shape = tuple(x.shape)
        if shape not in self._runs:
            if len(self._runs) > 3:  # training, validation and what each leaves over
                self._runs.clear()
            self._runs[shape] = _Run(self.stages, shape, self.dtype)
        return self._runs[shape]


class _Run:
    """Layers for one shape of input, and the maps that go in and come back."""

    def __init__(self, stages: Sequence[Stage], shape: tuple[int, ...], dtype: torch.dtype) -> None:
        images, channels, height, width = shape
        self.x = Map.make(channels, height, width, images, stages[0].padding, dtype)
        self.layers: list[Layer] = []
        x = self.x
        for stage, following in zip(stages, [*stages[1:], None], strict=True):
            padding = following.padding if following else 0
            self.layers.append(Layer(stage, x.shape, padding, dtype))
            x = self.layers[-1].y
        self.dy = Map.make(*x.shape, 0, dtype)


class _Stages(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, seed: int, training: bool, chain: Chain, *_parameters: Tensor | None
    ) -> Tensor:
        run = chain.run(x)
        run.x.inside.copy_(map_order(x))
        y = run.x
        for layer in run.layers:
            y = layer.forward(y, seed, training=training)
        chain.runs += 1
        ctx.made = (chain, run, chain.runs)
        # Not a view: whatever comes next may change it in place.
        channels, height, width, images = y.shape
        low = torch.is_autocast_enabled("cpu")
        out = torch.empty_strided(
            (images, channels, height, width),
            (1, height * width * images, width * images, images),
            dtype=chain.dtype if low else x.dtype,
        )
        map_order(out).copy_(y.inside)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> tuple[Tensor | None, ...]:
        chain, run, number = ctx.made
        if number != chain.runs:
            raise RuntimeError("another forward pass has used the memory of this one")
        run.dy.inside.copy_(map_order(dy))
        gradient: Map | None = run.dy
        gradients: list[Tensor | None] = []
        for at in range(len(run.layers) - 1, -1, -1):
            assert gradient is not None
            wanted = at > 0 or ctx.needs_input_grad[0]
            gradient, of_parameters = run.layers[at].backward(gradient, wanted=wanted)
            gradients = of_parameters + gradients
        dx = torch_order(gradient.inside.to(dy.dtype, copy=True)) if gradient is not None else None
        return dx, None, None, None, *gradients
