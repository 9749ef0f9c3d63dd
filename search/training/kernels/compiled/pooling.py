"""Compiled forward kernels of 2x2 max-pooling, alone or behind BatchNorm, ReLU and dropout.

Memory as in ``normalise``. The four values of a window are numbers of four runs of N images, so
every loop is over images and becomes vector instructions.

A window's winner is its first maximum in reading order, as in torch: place 0 and 1 in the upper
row, 2 and 3 in the lower one. An odd last row or column belongs to no window.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from search.training.kernels.compiled.normalization import (
    activate_run,
    drop_run,
    inner_row,
    padded_map,
)
from search.training.kernels.compiled.numeric import carray, compiled, narrow, widen


@compiled
def _maxima(a: Any, b: Any, c: Any, d: Any, maxima: Any, places: Any) -> None:
    for j in range(len(maxima)):
        best, place = widen(a[j]), np.int32(0)
        rival = widen(b[j])
        place = np.int32(1) if rival > best else place
        best = rival if rival > best else best
        rival = widen(c[j])
        place = np.int32(2) if rival > best else place
        best = rival if rival > best else best
        rival = widen(d[j])
        place = np.int32(3) if rival > best else place
        best = rival if rival > best else best
        maxima[j] = narrow(best, maxima)
        places[j] = np.uint8(place)


@compiled
def _select(a: Any, b: Any, c: Any, d: Any, places: Any, out: Any) -> None:
    """The values at the winners' places."""
    for j in range(len(out)):
        place = np.int32(places[j])
        first, second, third, fourth = a[j], b[j], c[j], d[j]
        upper = second if place == np.int32(1) else first
        lower = fourth if place == np.int32(3) else third
        out[j] = lower if place >= np.int32(2) else upper


def pool(
    x_pointer: Any,
    y_pointer: Any,
    places_pointer: Any,
    channels: Any,
    height: Any,
    width: Any,
    images: Any,
) -> None:
    """Max-pooling alone.

    Writes y and the winners' places, [channels, height/2, width/2, images].
    """
    x = carray(x_pointer, (channels, height, width, images))
    y = carray(y_pointer, (channels, height // 2, width // 2, images))
    places = carray(places_pointer, (channels, height // 2, width // 2, images))
    for channel in range(channels):
        for i in range(height // 2):
            upper, lower = x[channel, 2 * i], x[channel, 2 * i + 1]
            for j in range(width // 2):
                _maxima(
                    upper[2 * j],
                    upper[2 * j + 1],
                    lower[2 * j],
                    lower[2 * j + 1],
                    y[channel, i, j],
                    places[channel, i, j],
                )


def activate_and_pool(
    x_pointer: Any,
    y_pointer: Any,
    padding_rows: Any,
    padding_run: Any,
    winners_pointer: Any,
    places_pointer: Any,
    channels: Any,
    height: Any,
    width: Any,
    images: Any,
    slope_pointer: Any,
    offset_pointer: Any,
    key: Any,
    threshold: Any,
    pooled_key: Any,
    pooled_threshold: Any,
) -> None:
    """Write y = dropout(maxpool(dropout(relu(slope * x + offset)))); thresholds of 0: no dropout.

    Also writes the winners' places, and what x was there: all that the sums of the backward pass
    need.
    """
    half_height, half_width, run = height // 2, width // 2, width * images
    x = carray(x_pointer, (channels, height, run))
    places = carray(places_pointer, (channels, half_height, half_width * images))
    winners = carray(winners_pointer, (channels, half_height, half_width * images))
    y = padded_map(y_pointer, channels, half_height, half_width * images, padding_rows, padding_run)
    slope = carray(slope_pointer, channels)
    offset = carray(offset_pointer, channels)
    upper, lower = np.empty(run, slope.dtype), np.empty(run, slope.dtype)
    for channel in range(channels):
        for i in range(half_height):
            above, below = x[channel, 2 * i], x[channel, 2 * i + 1]
            activate_run(above, slope[channel], offset[channel], upper)
            activate_run(below, slope[channel], offset[channel], lower)
            if threshold > 0:
                first = np.uint32(key) + np.uint32((channel * height + 2 * i) * run)
                drop_run(upper, np.uint32(first), threshold)
                drop_run(lower, np.uint32(first + np.uint32(run)), threshold)
            maxima = inner_row(y, channel, i, padding_rows, padding_run)
            places_here, winners_here = places[channel, i], winners[channel, i]
            for j in range(half_width):
                start, end = j * images, (j + 1) * images
                left, middle, right = 2 * start, start + end, 2 * end
                _maxima(
                    upper[left:middle],
                    upper[middle:right],
                    lower[left:middle],
                    lower[middle:right],
                    maxima[start:end],
                    places_here[start:end],
                )
                _select(
                    above[left:middle],
                    above[middle:right],
                    below[left:middle],
                    below[middle:right],
                    places_here[start:end],
                    winners_here[start:end],
                )
            if pooled_threshold > 0:
                begin = (channel * half_height + i) * half_width * images
                drop_run(
                    maxima, np.uint32(np.uint32(pooled_key) + np.uint32(begin)), pooled_threshold
                )


# As in ``normalise``; I is the address of places.
SIGNATURES = {
    pool: "PPI NNNN",
    activate_and_pool: "PPNN PI NNNN SS UUUU",
}
