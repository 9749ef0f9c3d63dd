"""Compiled backward kernels of a stage with max-pooling; windows and places as in ``pooling``."""

from __future__ import annotations

from typing import Any

import numpy as np

from search.training.kernels.compiled.normalization import inner_row, padded_map
from search.training.kernels.compiled.numeric import carray, compiled, narrow, widen


@compiled
def _spread(
    dy: Any, y: Any, places: Any, place: Any, x: Any, slope: Any, curve: Any, shift: Any, dx: Any
) -> None:
    zero = slope * 0
    for j in range(len(dx)):
        gradient = widen(dy[j])
        won = (np.int32(places[j]) == place) & (y[j] != 0)
        gated = gradient if won else zero
        dx[j] = narrow(gated * slope + (widen(x[j]) * curve + shift), dx)


@compiled
def _line(x: Any, curve: Any, shift: Any, dx: Any) -> None:
    for j in range(len(dx)):
        dx[j] = narrow(widen(x[j]) * curve + shift, dx)


def pooled_gradient(
    dy_pointer: Any,
    y_pointer: Any,
    y_padding_rows: Any,
    y_padding_run: Any,
    places_pointer: Any,
    x_pointer: Any,
    channels: Any,
    height: Any,
    width: Any,
    images: Any,
    slope_pointer: Any,
    curve_pointer: Any,
    shift_pointer: Any,
    dx_pointer: Any,
    dx_padding_rows: Any,
    dx_padding_run: Any,
) -> None:
    """Write dx, inside its padding, of a stage that pools behind BatchNorm."""
    half_height, half_width, run = height // 2, width // 2, width * images
    half_run = half_width * images
    dy = carray(dy_pointer, (channels, half_height, half_run))
    y = padded_map(y_pointer, channels, half_height, half_run, y_padding_rows, y_padding_run)
    places = carray(places_pointer, (channels, half_height, half_run))
    x = carray(x_pointer, (channels, height, run))
    dx = padded_map(dx_pointer, channels, height, run, dx_padding_rows, dx_padding_run)
    slope = carray(slope_pointer, channels)
    curve = carray(curve_pointer, channels)
    shift = carray(shift_pointer, channels)
    for channel in range(channels):
        a, b, c = slope[channel], curve[channel], shift[channel]
        for i in range(half_height):
            gradients = dy[channel, i]
            outputs = inner_row(y, channel, i, y_padding_rows, y_padding_run)
            places_here = places[channel, i]
            for place in range(4):
                row = 2 * i + place // 2
                source = x[channel, row]
                target = inner_row(dx, channel, row, dx_padding_rows, dx_padding_run)
                for j in range(half_width):
                    start, end = j * images, (j + 1) * images
                    left = (2 * j + place % 2) * images
                    right = left + images
                    _spread(
                        gradients[start:end],
                        outputs[start:end],
                        places_here[start:end],
                        np.int32(place),
                        source[left:right],
                        a,
                        b,
                        c,
                        target[left:right],
                    )
        for row in range(height):  # an odd last row, or the end of a row, is in no window
            target = inner_row(dx, channel, row, dx_padding_rows, dx_padding_run)
            start = 2 * half_run if row < 2 * half_height else 0
            if start < run:
                _line(x[channel, row][start:], b, c, target[start:])


@compiled
def _gated(dy: Any, y: Any, pooled: Any, slope: Any, curve: Any, shift: Any, gradient: Any) -> None:
    zero = slope * 0
    for j in range(len(gradient)):
        value = widen(dy[j])
        gated = value if y[j] != 0 else zero
        gradient[j] = narrow(gated * slope + (widen(pooled[j]) * curve + shift), gradient)


@compiled
def _where(places: Any, place: Any, values: Any, out: Any) -> None:
    zero = values.dtype.type(0)
    for j in range(len(out)):
        value = values[j]
        out[j] = value if np.int32(places[j]) == place else zero


def early_gradient(
    dy_pointer: Any,
    y_pointer: Any,
    y_padding_rows: Any,
    y_padding_run: Any,
    places_pointer: Any,
    pooled_pointer: Any,
    channels: Any,
    height: Any,
    width: Any,
    images: Any,
    slope_pointer: Any,
    curve_pointer: Any,
    shift_pointer: Any,
    dx_pointer: Any,
    dx_padding_rows: Any,
    dx_padding_run: Any,
) -> None:
    """Write dx, inside its padding, of a stage that pools before BatchNorm.

    What no window covers is not written: it stays the zero that it was when the memory was made.
    """
    half_height, half_width, run = height // 2, width // 2, width * images
    half_run = half_width * images
    dy = carray(dy_pointer, (channels, half_height, half_run))
    y = padded_map(y_pointer, channels, half_height, half_run, y_padding_rows, y_padding_run)
    places = carray(places_pointer, (channels, half_height, half_run))
    pooled = carray(pooled_pointer, (channels, half_height, half_run))
    dx = padded_map(dx_pointer, channels, height, run, dx_padding_rows, dx_padding_run)
    slope = carray(slope_pointer, channels)
    curve = carray(curve_pointer, channels)
    shift = carray(shift_pointer, channels)
    gradient = np.empty(half_run, dx.dtype)
    for channel in range(channels):
        a, b, c = slope[channel], curve[channel], shift[channel]
        for i in range(half_height):
            outputs = inner_row(y, channel, i, y_padding_rows, y_padding_run)
            _gated(dy[channel, i], outputs, pooled[channel, i], a, b, c, gradient)
            places_here = places[channel, i]
            for place in range(4):
                target = inner_row(dx, channel, 2 * i + place // 2, dx_padding_rows, dx_padding_run)
                for j in range(half_width):
                    start, end = j * images, (j + 1) * images
                    left = (2 * j + place % 2) * images
                    _where(
                        places_here[start:end],
                        np.int32(place),
                        gradient[start:end],
                        target[left : left + images],
                    )


# As in ``normalise``; I is the address of places.
SIGNATURES = {
    pooled_gradient: "PPNN IP NNNN SSS PNN",
    early_gradient: "PPNN IP NNNN SSS PNN",
}
