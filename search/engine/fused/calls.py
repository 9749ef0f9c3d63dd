"""Calls of the compiled passes: allocates what they write and hands them addresses.

All maps are ``[N, C, H, W]`` tensors that lie in memory as N x H x W x C. What a pass calculates
for each channel comes in one tensor with a line for each quantity: fewer small tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from search.engine.fused.passes import load
from search.engine.fused.stages import Stage, dropout_key, threshold


def empty_map(like: Tensor, channels: int, height: int, width: int) -> Tensor:
    """Memory for a map of as many images and of the same type."""
    shape = (like.shape[0], height, width, channels)
    return torch.empty(shape, dtype=like.dtype).permute(0, 3, 1, 2)


def max_pool(x: Tensor) -> tuple[Tensor, Tensor]:
    """2x2 max-pooling; the pooled map and the marks of the winners."""
    count, channels, height, width = x.shape
    _check_pooling(x)
    y = empty_map(x, channels, height // 2, width // 2)
    marks = torch.empty(2 * y.numel(), dtype=torch.uint8)
    load(x.dtype).pool(
        *(x.data_ptr(), y.data_ptr(), marks.data_ptr()), *(count, height, width, channels)
    )
    return y, marks


def max_pool_gradient(
    dy: Tensor, marks: Tensor, height: int, width: int, border: int
) -> tuple[Tensor, Tensor | None]:
    """Gradient of ``max_pool``'s x, and the same inside a border of zeros if there is one."""
    count, channels, _, _ = dy.shape
    dx = empty_map(dy, channels, height, width)
    bordered = _bordered(dx, border)
    load(dy.dtype).unpool(
        *(dy.data_ptr(), marks.data_ptr(), count, height, width, channels),
        *(dx.data_ptr(), _address(bordered), border),
    )
    return dx, bordered


def batch_statistics(x: Tensor, gamma: Tensor, beta: Tensor, stage: Stage) -> tuple[Tensor, Tensor]:
    """Statistics of the batch; also moves the running ones.

    Returns:
        Means and inverse deviations ``[2, C]``, slopes and offsets ``[2, W * C]``.

    Raises:
        ValueError: If there is one value in each channel, as torch's BatchNorm.
    """
    count, channels, height, width = x.shape
    if count * height * width == 1:
        raise ValueError(f"more than 1 value per channel is needed, but got {tuple(x.shape)}")
    norm = stage.norm
    assert norm.running_mean is not None and norm.running_var is not None
    moments = torch.empty((2, channels), dtype=gamma.dtype)
    line = torch.empty((2, width * channels), dtype=gamma.dtype)
    load(x.dtype).statistics(
        *(x.data_ptr(), count * height, width * channels, channels),
        *(gamma.data_ptr(), beta.data_ptr()),
        *(norm.running_mean.data_ptr(), norm.running_var.data_ptr()),
        *(norm.momentum, norm.eps, stage.scale),
        *(*_lines(moments), *_lines(line)),
    )
    return moments, line


def activate(x: Tensor, line: Tensor, stage: Stage, seed: int) -> Tensor:
    """BatchNorm, ReLU and dropout."""
    count, channels, height, width = x.shape
    y = empty_map(x, channels, height, width)
    load(x.dtype).activate(
        *(x.data_ptr(), y.data_ptr(), count * height, width * channels, *_lines(line)),
        *_dropout(stage.rate, seed, 2 * stage.place),
    )
    return y


def activate_and_pool(
    x: Tensor, line: Tensor, stage: Stage, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """BatchNorm, ReLU, dropout, pooling and dropout.

    Returns:
        The map, the marks of the winners and the values of x there.
    """
    count, channels, height, width = x.shape
    _check_pooling(x)
    y = empty_map(x, channels, height // 2, width // 2)
    winners = empty_map(x, channels, height // 2, width // 2)
    marks = torch.empty(2 * y.numel(), dtype=torch.uint8)
    load(x.dtype).activate_and_pool(
        *(x.data_ptr(), y.data_ptr(), winners.data_ptr(), marks.data_ptr()),
        *(count, height, width, channels, *_lines(line)),
        *_dropout(stage.rate, seed, 2 * stage.place),
        *_dropout(stage.pooled_rate, seed, 2 * stage.place + 1),
    )
    return y, marks, winners


def activation_gradient(
    dy: Tensor,
    y: Tensor,
    x: Tensor,
    gamma: Tensor,
    moments: Tensor,
    stage: Stage,
    marks: Tensor | None,
    winners: Tensor | None,
    border: int,
) -> tuple[Tensor, Tensor | None, Tensor]:
    """Backward pass of ``activate``, or with marks and winners of ``activate_and_pool``.

    Returns:
        Gradient of x, the same inside a border of zeros if there is one, and the gradients of
        gamma and beta ``[2, C]``.
    """
    passes = load(x.dtype)
    count, channels, height, width = x.shape
    _, _, out_height, out_width = y.shape
    line = torch.empty((3, width * channels), dtype=gamma.dtype)
    d_parameters = torch.empty((2, channels), dtype=gamma.dtype)
    summed = x if winners is None else winners
    passes.gradient_sums(
        *(dy.data_ptr(), y.data_ptr(), summed.data_ptr()),
        *(count * out_height, out_width * channels, width * channels, channels),
        *(count * height * width, stage.scale, gamma.data_ptr()),
        *(*_lines(moments), *_lines(d_parameters), *_lines(line)),
    )
    dx = empty_map(x, channels, height, width)
    bordered = _bordered(dx, border)
    shape = (count, height, width, channels)
    out = (dx.data_ptr(), _address(bordered), border)
    if marks is None:
        inputs = (dy.data_ptr(), y.data_ptr(), x.data_ptr())
        passes.gradient(*inputs, *shape, *_lines(line), *out)
    else:
        pooled = (dy.data_ptr(), y.data_ptr(), marks.data_ptr(), x.data_ptr())
        passes.pooled_gradient(*pooled, *shape, *_lines(line), *out)
    return dx, bordered, d_parameters


def dropout_mask(
    shape: tuple[int, ...], rate: float, seed: int, place: int, dtype: torch.dtype
) -> Tensor:
    """Dropout's factors, 0 or 1 / (1 - rate), in the memory order of ``shape``.

    For activations of `dtype`, whose passes are loaded in any case; the factors of bfloat16 ones
    are float32.
    """
    factors = torch.empty(shape, dtype=torch.promote_types(dtype, torch.float32))
    load(dtype).mask(
        *(factors.data_ptr(), factors.numel(), 1.0 / (1.0 - rate)),
        *_dropout(rate, seed, 2 * place),
    )
    return factors


def _dropout(rate: float, seed: int, place: int) -> tuple[int, int]:
    """The key and the threshold of a pass; without dropout the key does not matter."""
    return (dropout_key(seed, place), threshold(rate)) if rate > 0 else (0, 0)


def _lines(values: Tensor) -> range:
    """The addresses of the lines of a contiguous matrix."""
    start, step = values.data_ptr(), values.shape[1] * values.element_size()
    return range(start, start + values.shape[0] * step, step)


def _address(tensor: Tensor | None) -> int:
    return 0 if tensor is None else tensor.data_ptr()


def _bordered(x: Tensor, border: int) -> Tensor | None:
    if not border:
        return None
    _, channels, height, width = x.shape
    return empty_map(x, channels, height + 2 * border, width + 2 * border)


def _check_pooling(x: Tensor) -> None:
    if min(x.shape[2:]) < 2:
        functional.max_pool2d(x, 2)  # raises what the plain network raises
