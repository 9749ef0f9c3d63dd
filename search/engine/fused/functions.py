"""The stages as differentiable functions of torch.

What the backward pass needs goes through ``save_for_backward``, the output first of all: an
output kept on the context itself is a reference cycle, which only the garbage collector frees,
and a training step's memory then piles up for hundreds of steps.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from search.engine.fused import calls
from search.engine.fused.convolution import border_of, convolve, gradients
from search.engine.fused.stages import Stage

Gradients = tuple[Tensor | None, ...]


class ConvolutionFunction(torch.autograd.Function):
    """A convolution alone; weights of the parameters' type, activations of another one."""

    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, low: Tensor, padding: int
    ) -> Tensor:
        """Arguments as in ``convolve``; `low` is the weight in the type of x."""
        is_image = _is_image(ctx, x)
        low_bias = None if bias is None else bias.to(low.dtype)
        y, shifted = convolve(x, low, low_bias, padding, is_image=is_image)
        ctx.save_for_backward(x if shifted is None else shifted, low)
        ctx.settings = (padding, is_image, weight.dtype)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Gradients:
        """Gradients of x, the weight and the bias."""
        x, low = ctx.saved_tensors
        padding, is_image, dtype = ctx.settings
        wanted = ctx.needs_input_grad[0]
        dy = dy.contiguous(memory_format=torch.channels_last)
        border = border_of(low.shape[2], padding, wanted=wanted)
        bordered = functional.pad(dy, (border,) * 4) if border else None
        dx, dweight = gradients(dy, bordered, x, low, padding, is_image=is_image, wanted=wanted)
        dbias = dy.sum((0, 2, 3)).to(dtype) if ctx.needs_input_grad[2] else None
        return dx, dweight.to(dtype), dbias, None, None


class StageFunction(torch.autograd.Function):
    """A ``Stage``: its convolution by torch, everything behind it by compiled passes."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        gamma: Tensor,
        beta: Tensor,
        low: Tensor,
        stage: Stage,
        seed: int,
    ) -> Tensor:
        """As ``ConvolutionFunction``; moves the running statistics of the stage's BatchNorm."""
        is_image = _is_image(ctx, x)
        low_bias = None if bias is None else bias.to(low.dtype)
        features, shifted = convolve(x, low, low_bias, stage.padding, is_image=is_image)
        full = features.shape[2:]
        marks = winners = None
        if stage.pool == "early":
            features, marks = calls.max_pool(features)
        moments, line = calls.batch_statistics(features, gamma, beta, stage)
        if stage.pool == "late":
            y, marks, winners = calls.activate_and_pool(features, line, stage, seed)
        else:
            y = calls.activate(features, line, stage, seed)
        inputs = (x if shifted is None else shifted, low, gamma)
        ctx.save_for_backward(y, *inputs, features, moments, marks, winners)
        ctx.settings = (stage, is_image, full, weight.dtype)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dy: Tensor) -> Gradients:
        """Gradients of x, the convolution's weight and bias, gamma and beta."""
        y, x, low, gamma, features, moments, marks, winners = ctx.saved_tensors
        stage, is_image, full, dtype = ctx.settings
        wanted = ctx.needs_input_grad[0]
        dy = dy.to(y.dtype).contiguous(memory_format=torch.channels_last)
        border = border_of(low.shape[2], stage.padding, wanted=wanted)
        early = stage.pool == "early"
        d_features, bordered, d_parameters = calls.activation_gradient(
            *(dy, y, features, gamma, moments, stage),
            marks=None if early else marks,
            winners=winners,
            border=0 if early else border,
        )
        if early:
            d_features, bordered = calls.max_pool_gradient(
                d_features, marks, full[0], full[1], border
            )
        dx, dweight = gradients(
            d_features, bordered, x, low, stage.padding, is_image=is_image, wanted=wanted
        )
        dbias = d_features.sum((0, 2, 3)).to(dtype) if ctx.needs_input_grad[2] else None
        dgamma, dbeta = d_parameters.unbind()
        return dx, dweight.to(dtype), dbias, dgamma, dbeta, None, None, None


def _is_image(ctx: Any, x: Tensor) -> bool:
    return x.shape[1] == 1 and not ctx.needs_input_grad[0]
