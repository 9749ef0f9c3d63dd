"""Compiled kernels for BatchNorm, ReLU and dropout.

A feature map of N images lies in memory as channels x height x width x N, some maps inside a
padding of zeros on all four sides. A row of a channel is one run of ``width * N`` neighbouring
numbers that are all treated alike: every inner loop becomes full vector instructions.

Forward, with the statistics of the batch for each channel::

    y = dropout(relu(slope * x + offset))        slope  = scale * gamma / sqrt(variance + eps)
                                                 offset = scale * beta - slope * mean

``scale`` is dropout's 1 / (1 - rate): being positive, it passes through ReLU, so dropping is
all that is left to do to a value.

The backward kernels are in ``gradients``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from search.training.kernels.compiled.numeric import (
    carray,
    compiled,
    compiled_sum,
    dropped,
    narrow,
    widen,
)


@compiled
def padded_map(
    pointer: Any, channels: Any, height: Any, run: Any, padding_rows: Any, padding_run: Any
) -> Any:
    """A map with its padding, of which ``inner_row`` gives the rows; `run` is width * N."""
    return carray(pointer, (channels, height + 2 * padding_rows, run + 2 * padding_run))


@compiled
def inner_row(whole: Any, channel: Any, row: Any, padding_rows: Any, padding_run: Any) -> Any:
    """A row of a channel without the padding; a contiguous run, as the loops over it need."""
    line = whole[channel, row + padding_rows]
    return line[padding_run : len(line) - padding_run]


@compiled_sum
def _moments(x: Any, origin: Any) -> Any:
    total, squares = origin * 0, origin * 0
    for j in range(len(x)):
        value = widen(x[j]) - origin
        total += value
        squares += value * value
    return total, squares


def statistics(
    x_pointer: Any,
    channels: Any,
    height: Any,
    run: Any,
    gamma_pointer: Any,
    beta_pointer: Any,
    running_mean_pointer: Any,
    running_variance_pointer: Any,
    momentum: Any,
    eps: Any,
    scale: Any,
    mean_pointer: Any,
    inverse_pointer: Any,
    slope_pointer: Any,
    offset_pointer: Any,
) -> None:
    """The batch's mean and variance in one reading; moves the running statistics.

    Writes mean, ``inverse`` = 1 / sqrt(variance + eps), slope and offset, all [channels]. A
    channel's first value serves as the origin of its sums: the difference of squares then loses
    no digits where the mean is large against the deviation.
    """
    x = carray(x_pointer, (channels, height, run))
    gamma = carray(gamma_pointer, channels)
    beta = carray(beta_pointer, channels)
    running_mean = carray(running_mean_pointer, channels)
    running_variance = carray(running_variance_pointer, channels)
    mean = carray(mean_pointer, channels)
    inverse = carray(inverse_pointer, channels)
    slope = carray(slope_pointer, channels)
    offset = carray(offset_pointer, channels)
    count = height * run
    for channel in range(channels):
        origin = widen(x[channel, 0, 0])
        total, total_square = 0.0, 0.0
        for row in range(height):
            some, some_squares = _moments(x[channel, row], origin)
            total += some
            total_square += some_squares
        distance = total / count
        centre = distance + origin
        variance = total_square / count - distance * distance
        variance = 0.0 if variance <= 0.0 else variance
        root = 1.0 / np.sqrt(variance + eps)
        unbiased = variance * count / max(count - 1, 1)
        running_mean[channel] += momentum * (centre - running_mean[channel])
        running_variance[channel] += momentum * (unbiased - running_variance[channel])
        mean[channel] = centre
        inverse[channel] = root
        slope[channel] = gamma[channel] * root * scale
        offset[channel] = (beta[channel] - centre * gamma[channel] * root) * scale


@compiled
def rectified(number: Any, zero: Any) -> Any:
    """max(number, 0), but NaN stays NaN, and zero is never -0.0."""
    return zero if number <= zero else number


@compiled
def activate_run(x: Any, slope: Any, offset: Any, out: Any) -> None:
    """Out = relu(slope * x + offset)."""
    zero = slope * 0
    for j in range(len(out)):
        out[j] = narrow(rectified(widen(x[j]) * slope + offset, zero), out)


@compiled
def drop_run(values: Any, key: Any, threshold: Any) -> None:
    """Dropout in place, of values whose counters begin at `key`."""
    zero = values.dtype.type(0)
    for j in range(len(values)):
        value = values[j]
        values[j] = zero if dropped(key, j, threshold) else value


@compiled
def _activate_and_drop_run(
    x: Any, slope: Any, offset: Any, key: Any, threshold: Any, out: Any
) -> None:
    zero = slope * 0
    for j in range(len(out)):
        value = rectified(widen(x[j]) * slope + offset, zero)
        out[j] = narrow(zero if dropped(key, j, threshold) else value, out)


def activate(
    x_pointer: Any,
    y_pointer: Any,
    padding_rows: Any,
    padding_run: Any,
    channels: Any,
    height: Any,
    run: Any,
    slope_pointer: Any,
    offset_pointer: Any,
    key: Any,
    threshold: Any,
) -> None:
    """Write y = dropout(relu(slope * x + offset)), inside its padding; threshold 0: no dropout."""
    x = carray(x_pointer, (channels, height, run))
    y = padded_map(y_pointer, channels, height, run, padding_rows, padding_run)
    slope = carray(slope_pointer, channels)
    offset = carray(offset_pointer, channels)
    for channel in range(channels):
        a, b = slope[channel], offset[channel]
        for row in range(height):
            out = inner_row(y, channel, row, padding_rows, padding_run)
            if threshold > 0:
                first = np.uint32(np.uint32(key) + np.uint32((channel * height + row) * run))
                _activate_and_drop_run(x[channel, row], a, b, first, threshold, out)
            else:
                activate_run(x[channel, row], a, b, out)


def mask(mask_pointer: Any, count: Any, scale: Any, key: Any, threshold: Any) -> None:
    """Dropout's factors, [count]: 0 or `scale`; for dropout that no stage has."""
    factors = carray(mask_pointer, count)
    zero, kept = factors.dtype.type(0), factors.dtype.type(scale)
    for j in range(count):
        factors[j] = zero if dropped(key, j, threshold) else kept


# How the kernels are called: P an address of a map's elements, S one of numbers, I one of bytes, N
# a 64-bit integer, U an unsigned 32-bit integer, D a double, E an element.
SIGNATURES = {
    statistics: "PNNN SSSS DDD SSSS",
    activate: "PPNN NNN SS UU",
    mask: "SN D UU",
}
