"""Compiled backward passes of BatchNorm, ReLU and dropout, over lines as in ``normalise``.

From dy, with M values in each channel (Ioffe and
Szegedy 2015, section 3)::

    g      = dy where y is not zero, else 0      ReLU and dropout in one, without a stored mask
    dbeta  = scale * sum(g)
    dgamma = scale * sum(g * (x - mean)) / sqrt(variance + eps)
    dx     = slope * g + curve * x + shift       curve = -gamma / (variance + eps) * dgamma / M
                                                 shift = -slope / scale * dbeta / M - curve * mean
"""

from __future__ import annotations

from typing import Any

import numpy as np

from search.engine.fused.numeric import active, carray, compiled, narrow, widen
from search.engine.fused.runs import copy_inside


@compiled
def _add_products(dy: Any, y: Any, x: Any, mean: Any, sums: Any, products: Any) -> None:
    zero = sums.dtype.type(0)
    for j in range(len(sums)):
        gradient = widen(dy[j])
        gated = gradient if active(y[j]) else zero
        sums[j] += gated
        products[j] += gated * (widen(x[j]) - mean[j])


def gradient_sums(
    dy_pointer: Any,
    y_pointer: Any,
    x_pointer: Any,
    lines: Any,
    length: Any,
    x_length: Any,
    channels: Any,
    count: Any,
    scale: Any,
    gamma_pointer: Any,
    mean_pointer: Any,
    inverse_pointer: Any,
    dgamma_pointer: Any,
    dbeta_pointer: Any,
    slope_pointer: Any,
    curve_pointer: Any,
    shift_pointer: Any,
) -> None:
    """Sum up to dgamma and dbeta, both [channels], and the coefficients of dx, [x_length] each.

    dy, y and x are [lines, length]. Where y was pooled, x holds the values that won and is
    shorter than the map that was normalised, of `x_length` a line and `count` in each channel:
    the gradient of all others is zero here.
    """
    dy = carray(dy_pointer, lines * length)
    y = carray(y_pointer, lines * length)
    x = carray(x_pointer, lines * length)
    gamma = carray(gamma_pointer, channels)
    mean = carray(mean_pointer, channels)
    inverse = carray(inverse_pointer, channels)
    dgamma = carray(dgamma_pointer, channels)
    dbeta = carray(dbeta_pointer, channels)
    slope = carray(slope_pointer, x_length)
    curve = carray(curve_pointer, x_length)
    shift = carray(shift_pointer, x_length)
    sums = np.zeros(length, mean.dtype)
    products = np.zeros(length, mean.dtype)
    means = np.empty(length, mean.dtype)
    for j in range(length):
        means[j] = mean[j % channels]
    for line in range(lines):
        start, end = line * length, (line + 1) * length
        _add_products(dy[start:end], y[start:end], x[start:end], means, sums, products)
    for channel in range(channels):
        total, total_product = 0.0, 0.0
        for j in range(channel, length, channels):
            total += sums[j]
            total_product += products[j]
        root = np.float64(inverse[channel])
        factor = gamma[channel] * root
        of_beta = total * scale
        of_gamma = total_product * scale * root
        dbeta[channel] = of_beta
        dgamma[channel] = of_gamma
        bend = -factor * root * of_gamma / count
        for j in range(channel, x_length, channels):
            slope[j] = factor * scale
            curve[j] = bend
            shift[j] = -factor * of_beta / count - bend * mean[channel]


@compiled
def _gradient_line(dy: Any, y: Any, x: Any, slope: Any, curve: Any, shift: Any, dx: Any) -> None:
    zero = slope.dtype.type(0)
    for j in range(len(dx)):
        gradient = widen(dy[j])
        gated = gradient if active(y[j]) else zero
        dx[j] = narrow(gated * slope[j] + (widen(x[j]) * curve[j] + shift[j]), dx)


def gradient(
    dy_pointer: Any,
    y_pointer: Any,
    x_pointer: Any,
    images: Any,
    height: Any,
    width: Any,
    channels: Any,
    slope_pointer: Any,
    curve_pointer: Any,
    shift_pointer: Any,
    dx_pointer: Any,
    bordered_pointer: Any,
    border: Any,
) -> None:
    """Write dx of an unpooled stage, and if border > 0 a copy of it inside a border of zeros."""
    length = width * channels
    total = images * height * length
    dy = carray(dy_pointer, total)
    y = carray(y_pointer, total)
    x = carray(x_pointer, total)
    slope = carray(slope_pointer, length)
    curve = carray(curve_pointer, length)
    shift = carray(shift_pointer, length)
    dx = carray(dx_pointer, total)
    bordered = carray(
        bordered_pointer, images * (height + 2 * border) * (width + 2 * border) * channels
    )
    for line in range(images * height):
        start, end = line * length, (line + 1) * length
        _gradient_line(
            dy[start:end], y[start:end], x[start:end], slope, curve, shift, dx[start:end]
        )
        if border > 0:
            copy_inside(dx[start:end], bordered, line, height, width, channels, border)


# As in ``normalise``.
SIGNATURES = {
    gradient_sums: "PPP NNNNN D SSS SS SSS",
    gradient: "PPP NNNN SSS PPN",
}
