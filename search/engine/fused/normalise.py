"""Compiled passes for BatchNorm, ReLU and dropout over channels-last memory.

A feature map of N images lies in memory as N x height x width x channels. All passes go over
it in lines of ``length`` values that begin at channel 0 (a line of an image: width x channels),
and what belongs to a channel is repeated along a line: then every inner loop treats its values
alike and becomes vector instructions, whatever the number of channels.

Forward, with the statistics of the batch for each channel::

    y = dropout(relu(slope * x + offset))        slope  = scale * gamma / sqrt(variance + eps)
                                                 offset = scale * beta - slope * mean

``scale`` is dropout's 1 / (1 - rate): being positive, it passes through ReLU, so dropping is
all that is left to do to a value.

The backward passes are in ``gradients``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from search.engine.fused.numeric import carray, compiled, dropped, narrow, relu, widen


@compiled
def _add_moments(x: Any, origin: Any, sums: Any, squares: Any) -> None:
    for j in range(len(sums)):
        value = widen(x[j]) - origin[j]
        sums[j] += value
        squares[j] += value * value


def statistics(
    x_pointer: Any,
    lines: Any,
    length: Any,
    channels: Any,
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

    Writes mean and ``inverse`` = 1 / sqrt(variance + eps), both [channels], and slope and offset,
    both [length]. The first values serve as the origin of the sums: the difference of squares
    then loses no digits where the mean is large against the deviation.
    """
    x = carray(x_pointer, lines * length)
    gamma = carray(gamma_pointer, channels)
    beta = carray(beta_pointer, channels)
    running_mean = carray(running_mean_pointer, channels)
    running_variance = carray(running_variance_pointer, channels)
    mean = carray(mean_pointer, channels)
    inverse = carray(inverse_pointer, channels)
    slope = carray(slope_pointer, length)
    offset = carray(offset_pointer, length)
    sums = np.zeros(length, mean.dtype)
    squares = np.zeros(length, mean.dtype)
    origin = np.empty(length, mean.dtype)
    for j in range(length):
        origin[j] = widen(x[j % channels])
    for line in range(lines):
        _add_moments(x[line * length : (line + 1) * length], origin, sums, squares)
    count = lines * (length // channels)
    for channel in range(channels):
        total, total_square = 0.0, 0.0
        for j in range(channel, length, channels):
            total += sums[j]
            total_square += squares[j]
        distance = total / count
        centre = distance + origin[channel]
        variance = relu(total_square / count - distance * distance)
        root = 1.0 / np.sqrt(variance + eps)
        unbiased = variance * count / max(count - 1, 1)
        running_mean[channel] += momentum * (centre - running_mean[channel])
        running_variance[channel] += momentum * (unbiased - running_variance[channel])
        mean[channel] = centre
        inverse[channel] = root
        for j in range(channel, length, channels):
            slope[j] = gamma[channel] * root * scale
            offset[j] = (beta[channel] - centre * gamma[channel] * root) * scale


@compiled
def activate_line(x: Any, slope: Any, offset: Any, out: Any) -> None:
    """Out = relu(slope * x + offset)."""
    for j in range(len(out)):
        out[j] = narrow(relu(widen(x[j]) * slope[j] + offset[j]), out)


@compiled
def _activate_and_drop_line(
    x: Any, slope: Any, offset: Any, key: Any, threshold: Any, out: Any
) -> None:
    zero = slope.dtype.type(0)
    for j in range(len(out)):
        value = relu(widen(x[j]) * slope[j] + offset[j])
        out[j] = narrow(zero if dropped(key, j, threshold) else value, out)


def activate(
    x_pointer: Any,
    y_pointer: Any,
    lines: Any,
    length: Any,
    slope_pointer: Any,
    offset_pointer: Any,
    key: Any,
    threshold: Any,
) -> None:
    """Write y = dropout(relu(slope * x + offset)), [lines, length]; threshold 0: no dropout."""
    x = carray(x_pointer, lines * length)
    y = carray(y_pointer, lines * length)
    slope = carray(slope_pointer, length)
    offset = carray(offset_pointer, length)
    for line in range(lines):
        start, end = line * length, (line + 1) * length
        if threshold > 0:
            first = np.uint32(np.uint32(key) + np.uint32(start))
            _activate_and_drop_line(x[start:end], slope, offset, first, threshold, y[start:end])
        else:
            activate_line(x[start:end], slope, offset, y[start:end])


def mask(mask_pointer: Any, count: Any, scale: Any, key: Any, threshold: Any) -> None:
    """Dropout's factors, [count]: 0 or `scale`; for dropout that no stage has."""
    factors = carray(mask_pointer, count)
    zero, kept = factors.dtype.type(0), factors.dtype.type(scale)
    for j in range(count):
        factors[j] = zero if dropped(key, j, threshold) else kept


# How the passes are called: P an address of activations, S one of sums, coefficients or
# parameters, N a 64-bit integer, U an unsigned 32-bit integer, D a double.
SIGNATURES = {
    statistics: "PNNN SSSS DDD SSSS",
    activate: "PPNN SS UU",
    mask: "SN D UU",
}
