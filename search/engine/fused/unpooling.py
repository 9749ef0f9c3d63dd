"""Compiled backward passes for 2x2 max-pooling, alone or behind BatchNorm, ReLU and dropout.

The runs of channels in a line of a pooled map's gradient are doubled: every value of the two
lines above it then stands below its window's gradient, and takes it where the mark says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from search.engine.fused.numeric import active, carray, compiled, narrow, widen
from search.engine.fused.runs import clear, copy_inside, double_runs


@compiled
def _gate_line(dy: Any, y: Any, out: Any) -> None:
    zero = out.dtype.type(0)
    for j in range(len(out)):
        value = dy[j]
        out[j] = value if active(y[j]) else zero


@compiled
def _pooled_gradient_line(
    dy: Any, marks: Any, row: Any, x: Any, slope: Any, curve: Any, shift: Any, dx: Any
) -> None:
    zero = dy.dtype.type(0)
    for j in range(len(dx)):
        value = dy[j]
        mine = value if marks[j] == row else zero
        dx[j] = narrow(widen(mine) * slope[j] + (widen(x[j]) * curve[j] + shift[j]), dx)


@compiled
def _losers_gradient_line(x: Any, curve: Any, shift: Any, dx: Any) -> None:
    for j in range(len(dx)):
        dx[j] = narrow(widen(x[j]) * curve[j] + shift[j], dx)


@compiled
def _unpool_line(dy: Any, marks: Any, row: Any, dx: Any) -> None:
    zero = dy.dtype.type(0)
    for j in range(len(dx)):
        value = dy[j]
        dx[j] = value if marks[j] == row else zero


def pooled_gradient(
    dy_pointer: Any,
    y_pointer: Any,
    marks_pointer: Any,
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
    """Write dx of ``activate_and_pool``, and with border > 0 a copy inside that border of zeros.

    Losers of a window and an odd last row and column also get curve * x + shift: they took part
    in the statistics.
    """
    half_height, half_width = height // 2, width // 2
    length, half = width * channels, half_width * channels
    dy = carray(dy_pointer, images * half_height * half)
    y = carray(y_pointer, images * half_height * half)
    marks = carray(marks_pointer, images * half_height * 2 * half)
    x = carray(x_pointer, images * height * length)
    slope = carray(slope_pointer, length)
    curve = carray(curve_pointer, length)
    shift = carray(shift_pointer, length)
    dx = carray(dx_pointer, images * height * length)
    bordered = carray(
        bordered_pointer, images * (height + 2 * border) * (width + 2 * border) * channels
    )
    used = 2 * half
    gated = np.empty(half, dy.dtype)
    doubled = np.empty(used, dy.dtype)
    for line in range(images * height):
        start, end = line * length, (line + 1) * length
        image, row = line // height, line % height
        inside = start
        if row < 2 * half_height:
            inside = start + used
            window = image * half_height + row // 2
            if row % 2 == 0:
                first, last = window * half, (window + 1) * half
                _gate_line(dy[first:last], y[first:last], gated)
                double_runs(gated, doubled, channels)
            _pooled_gradient_line(
                doubled,
                marks[window * used : (window + 1) * used],
                np.uint8(1 + row % 2),
                x[start:inside],
                slope,
                curve,
                shift,
                dx[start:inside],
            )
        rest = inside - start  # an odd last column, or the whole of an odd last row
        _losers_gradient_line(x[inside:end], curve[rest:], shift[rest:], dx[inside:end])
        if border > 0:
            copy_inside(dx[start:end], bordered, line, height, width, channels, border)


def unpool(
    dy_pointer: Any,
    marks_pointer: Any,
    images: Any,
    height: Any,
    width: Any,
    channels: Any,
    dx_pointer: Any,
    bordered_pointer: Any,
    border: Any,
) -> None:
    """Write dx of ``pool``, and with border > 0 a copy of it inside that border of zeros."""
    half_height, half_width = height // 2, width // 2
    length, half = width * channels, half_width * channels
    dy = carray(dy_pointer, images * half_height * half)
    marks = carray(marks_pointer, images * half_height * 2 * half)
    dx = carray(dx_pointer, images * height * length)
    bordered = carray(
        bordered_pointer, images * (height + 2 * border) * (width + 2 * border) * channels
    )
    used = 2 * half
    doubled = np.empty(used, dy.dtype)
    for line in range(images * height):
        start, end = line * length, (line + 1) * length
        image, row = line // height, line % height
        inside = start
        if row < 2 * half_height:
            inside = start + used
            window = image * half_height + row // 2
            if row % 2 == 0:
                double_runs(dy[window * half : (window + 1) * half], doubled, channels)
            mine = marks[window * used : (window + 1) * used]
            _unpool_line(doubled, mine, np.uint8(1 + row % 2), dx[start:inside])
        clear(dx[inside:end])
        if border > 0:
            copy_inside(dx[start:end], bordered, line, height, width, channels, border)


# As in ``normalise``; I is the address of marks.
SIGNATURES = {pooled_gradient: "PPIP NNNN SSS PPN", unpool: "PI NNNN PPN"}
