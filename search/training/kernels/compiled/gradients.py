"""Compiled backward kernels of BatchNorm, ReLU and dropout; memory as in ``normalization``.

From dy, with M values in each channel (Ioffe and Szegedy 2015, section 3)::

    g      = dy where y is not zero, else 0      ReLU and dropout in one, without a stored mask
    dbeta  = scale * sum(g)
    dgamma = scale * sum(g * (x - mean)) / sqrt(variance + eps)
    dx     = slope * g + curve * x + shift       curve = -gamma / (variance + eps) * dgamma / M
                                                 shift = -slope / scale * dbeta / M - curve * mean
"""

from __future__ import annotations

from typing import Any

from search.training.kernels.compiled.normalization import inner_row, padded_map
from search.training.kernels.compiled.numeric import carray, compiled, compiled_sum, narrow, widen


@compiled_sum
def _sums(dy: Any, y: Any, x: Any, mean: Any) -> Any:
    zero = mean * 0
    total, products = zero, zero
    for j in range(len(dy)):
        gradient = widen(dy[j])  # read in any case: a loop with a branch is no vector code
        gated = gradient if y[j] != 0 else zero
        total += gated
        products += gated * (widen(x[j]) - mean)
    return total, products


def gradient_sums(
    dy_pointer: Any,
    y_pointer: Any,
    padding_rows: Any,
    padding_run: Any,
    x_pointer: Any,
    channels: Any,
    height: Any,
    run: Any,
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
    """Sum up to dgamma and dbeta, and the coefficients of dx; all [channels].

    dy, y (inside its padding) and x are [channels, height, run]. Where y was pooled, x holds the
    values that won; the map that was normalised has `count` values in each channel, and the
    gradient of all others is zero here.
    """
    dy = carray(dy_pointer, (channels, height, run))
    y = padded_map(y_pointer, channels, height, run, padding_rows, padding_run)
    x = carray(x_pointer, (channels, height, run))
    gamma = carray(gamma_pointer, channels)
    mean = carray(mean_pointer, channels)
    inverse = carray(inverse_pointer, channels)
    dgamma = carray(dgamma_pointer, channels)
    dbeta = carray(dbeta_pointer, channels)
    slope = carray(slope_pointer, channels)
    curve = carray(curve_pointer, channels)
    shift = carray(shift_pointer, channels)
    for channel in range(channels):
        total, total_product = 0.0, 0.0
        for row in range(height):
            out = inner_row(y, channel, row, padding_rows, padding_run)
            some, products = _sums(dy[channel, row], out, x[channel, row], mean[channel])
            total += some
            total_product += products
        factor = gamma[channel] * inverse[channel]
        of_beta = total * scale
        of_gamma = total_product * scale * inverse[channel]
        bend = -factor * inverse[channel] * of_gamma / count
        dbeta[channel] = of_beta
        dgamma[channel] = of_gamma
        slope[channel] = factor * scale
        curve[channel] = bend
        shift[channel] = -factor * of_beta / count - bend * mean[channel]


@compiled
def _gradient_run(dy: Any, y: Any, x: Any, slope: Any, curve: Any, shift: Any, dx: Any) -> None:
    zero = slope * 0
    for j in range(len(dx)):
        gradient = widen(dy[j])  # read in any case: a loop with a branch is no vector code
        gated = gradient if y[j] != 0 else zero
        dx[j] = narrow(gated * slope + (widen(x[j]) * curve + shift), dx)


def gradient(
    dy_pointer: Any,
    y_pointer: Any,
    y_padding_rows: Any,
    y_padding_run: Any,
    x_pointer: Any,
    channels: Any,
    height: Any,
    run: Any,
    slope_pointer: Any,
    curve_pointer: Any,
    shift_pointer: Any,
    dx_pointer: Any,
    dx_padding_rows: Any,
    dx_padding_run: Any,
) -> None:
    """Write dx, inside its padding, of a stage that does not pool."""
    dy = carray(dy_pointer, (channels, height, run))
    y = padded_map(y_pointer, channels, height, run, y_padding_rows, y_padding_run)
    x = carray(x_pointer, (channels, height, run))
    dx = padded_map(dx_pointer, channels, height, run, dx_padding_rows, dx_padding_run)
    slope = carray(slope_pointer, channels)
    curve = carray(curve_pointer, channels)
    shift = carray(shift_pointer, channels)
    for channel in range(channels):
        a, b, c = slope[channel], curve[channel], shift[channel]
        for row in range(height):
            out = inner_row(y, channel, row, y_padding_rows, y_padding_run)
            target = inner_row(dx, channel, row, dx_padding_rows, dx_padding_run)
            _gradient_run(dy[channel, row], out, x[channel, row], a, b, c, target)


@compiled_sum
def _sum(values: Any) -> Any:
    total = widen(values[0]) * 0
    for j in range(len(values)):
        total += widen(values[j])
    return total


def channel_sums(
    x_pointer: Any,
    padding_rows: Any,
    padding_run: Any,
    channels: Any,
    height: Any,
    run: Any,
    sums_pointer: Any,
) -> None:
    """Write the sum of each channel: the gradient of a bias."""
    x = padded_map(x_pointer, channels, height, run, padding_rows, padding_run)
    sums = carray(sums_pointer, channels)
    for channel in range(channels):
        total = 0.0
        for row in range(height):
            total += _sum(inner_row(x, channel, row, padding_rows, padding_run))
        sums[channel] = total


# As in ``normalise``.
SIGNATURES = {
    gradient_sums: "PPNNP NNN N D SSS SS SSS",
    gradient: "PPNNP NNN SSS PNN",
    channel_sums: "PNN NNN S",
}
