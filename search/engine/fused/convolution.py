"""Convolution forward and backward, each the way that torch's CPU library does it fastest."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

_backward = torch.ops.aten.convolution_backward


def convolve(
    x: Tensor, weight: Tensor, bias: Tensor | None, padding: int, *, is_image: bool
) -> tuple[Tensor, Tensor | None]:
    """A stride-1 convolution; the output is channels-last.

    Args:
        x: ``[N, C, H, W]``, of the weight's type.
        weight: ``[O, C, K, K]``, channels-last.
        bias: ``[O]``.
        padding: On all sides.
        is_image: One channel, and no gradient is wanted. The convolution is then a product of
            the K * K shifted images with the weights, which the library's own is far behind.

    Returns:
        The output, and for images the shifted images ``[K * K, N * H' * W']`` for ``gradients``.
    """
    if not is_image:
        y = functional.conv2d(x, weight, bias, padding=padding)
        return y.contiguous(memory_format=torch.channels_last), None
    outputs, _, kernel, _ = weight.shape
    if padding:
        x = functional.pad(x, (padding,) * 4)
    count, _, height, width = x.shape
    height, width = height - kernel + 1, width - kernel + 1
    shifted = _shifted(x.reshape(count, *x.shape[2:]), kernel).view(kernel * kernel, -1)
    filters = weight.reshape(outputs, -1).t()
    y = shifted.t() @ filters if bias is None else torch.addmm(bias, shifted.t(), filters)
    return y.view(count, height, width, outputs).permute(0, 3, 1, 2), shifted


def _shifted(images: Tensor, kernel: int) -> Tensor:
    """``[K * K, N, H', W']``; copies of whole rows cost much less than ``unfold``."""
    count, height, width = images.shape
    height, width = height - kernel + 1, width - kernel + 1
    out = images.new_empty(kernel * kernel, count, height, width)
    for i in range(kernel * kernel):
        down, right = divmod(i, kernel)
        out[i] = images[:, down : down + height, right : right + width]
    return out


def border_of(kernel: int, padding: int, *, wanted: bool) -> int:
    """The zeros that ``gradients`` wants around dy; 0 where it has no use for them."""
    return max(kernel - 1 - padding, 0) if wanted else 0


def gradients(
    dy: Tensor,
    bordered: Tensor | None,
    x: Tensor,
    weight: Tensor,
    padding: int,
    *,
    is_image: bool,
    wanted: bool,
) -> tuple[Tensor | None, Tensor]:
    """Gradients of x (where it is wanted) and of the weight.

    Args:
        dy: ``[N, O, H', W']``, channels-last.
        bordered: dy inside a border of zeros of the width that ``border_of`` gives. The gradient
            is then a convolution without padding, which the library does up to twice as fast as
            its own backward convolution.
        x: What went into ``convolve``, or for images the shifted images that came out of it.
        weight: As in ``convolve``.
        padding: As in ``convolve``.
        is_image: As in ``convolve``.
        wanted: Whether dx is.
    """
    if is_image:
        outputs = weight.shape[0]
        product = x @ dy.permute(0, 2, 3, 1).reshape(-1, outputs)
        return None, product.t().reshape(weight.shape)
    dx = None
    if wanted and bordered is not None:
        turned = weight.flip(2, 3).transpose(0, 1).contiguous(memory_format=torch.channels_last)
        dx = functional.conv2d(bordered, turned)
    mask = [wanted and dx is None, True, False]
    settings = ([1, 1], [padding] * 2, [1, 1], False, [0, 0], 1)
    rest, dweight, _ = _backward(dy, x, weight, None, *settings, mask)
    return rest if dx is None else dx, dweight
