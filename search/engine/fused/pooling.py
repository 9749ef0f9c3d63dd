"""Compiled forward passes for 2x2 max-pooling, alone or behind BatchNorm, ReLU and dropout.

Lines as in ``normalise``. Pooling works on whole lines too: with runs of one column's channels
a, b, c, d, ... side by side, the maximum over *every* two neighbouring runs (a|b, b|c, c|d, ...)
is a loop over two shifted views of the line and becomes vector instructions; then every second
run is kept. Computing twice what is needed costs less than short loops over single runs.

A window's winner is its first maximum in reading order, as in torch. For the backward pass each
of a window's two columns keeps a mark: 0 where neither of its values won, 1 for the upper and 2
for the lower one. Marks are as wide as the unpooled line: both passes then use them without
copying runs.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from search.engine.fused.normalise import activate_line
from search.engine.fused.numeric import carray, compiled, dropped, narrow, widen
from search.engine.fused.runs import every_second_run

# Where a window's winner is. The lower four bits are the mark of the window's left column, the
# upper four that of the right one: 1 is the upper row, 2 the lower row.
UPPER, UPPER_RIGHT, LOWER, LOWER_RIGHT = 0x01, 0x10, 0x02, 0x20


@compiled
def _drop_line(values: Any, key: Any, threshold: Any) -> None:
    zero = values.dtype.type(0)
    for j in range(len(values)):
        values[j] = zero if dropped(key, j, threshold) else values[j]


@compiled
def _maxima(
    upper: Any, upper_right: Any, lower: Any, lower_right: Any, maxima: Any, places: Any
) -> None:
    for j in range(len(upper)):
        best, place = widen(upper[j]), np.int32(UPPER)
        rival = widen(upper_right[j])
        place = np.int32(UPPER_RIGHT) if rival > best else place
        best = rival if rival > best else best
        rival = widen(lower[j])
        place = np.int32(LOWER) if rival > best else place
        best = rival if rival > best else best
        rival = widen(lower_right[j])
        place = np.int32(LOWER_RIGHT) if rival > best else place
        best = rival if rival > best else best
        maxima[j] = narrow(best, maxima)
        places[j] = np.uint8(place)


@compiled
def _select(
    upper: Any, upper_right: Any, lower: Any, lower_right: Any, places: Any, out: Any
) -> None:
    """The values at the winners' places."""
    for j in range(len(upper)):
        place = places[j]
        above, above_right, below, below_right = upper[j], upper_right[j], lower[j], lower_right[j]
        right = place >= np.uint8(UPPER_RIGHT)
        high = above_right if right else above
        low = below_right if right else below
        out[j] = low if np.uint8(place & np.uint8(LOWER | LOWER_RIGHT)) != np.uint8(0) else high


@compiled
def _mark(left: Any, here: Any, even: Any, marks: Any) -> None:
    """Marks from winners: an even column has its window's here, an odd one a column to the left.

    `even` is 255 in even columns and 0 in odd ones.
    """
    for j in range(len(marks)):
        of_odd = np.uint8((left[j] & np.uint8(~even[j])) >> np.uint8(4))
        marks[j] = np.uint8(of_odd | (here[j] & even[j] & np.uint8(15)))


@compiled
def _even_columns(length: Any, channels: Any) -> Any:
    even = np.empty(length, np.uint8)
    for j in range(length):
        even[j] = 0 if j // channels % 2 else 255
    return even


def pool(
    x_pointer: Any,
    y_pointer: Any,
    marks_pointer: Any,
    images: Any,
    height: Any,
    width: Any,
    channels: Any,
) -> None:
    """Max-pooling alone.

    Writes y, [images, height/2, width/2, channels], and marks, of uint8 and twice that width.
    """
    half_height, half_width = height // 2, width // 2
    length, half = width * channels, half_width * channels
    used = 2 * half
    x = carray(x_pointer, images * height * length)
    y = carray(y_pointer, images * half_height * half)
    marks = carray(marks_pointer, images * half_height * used)
    best = np.zeros(used, x.dtype)
    padded = np.zeros(channels + used, np.uint8)
    left, place = padded[:used], padded[channels:]
    even = _even_columns(used, channels)
    last = used - channels
    for line in range(images * half_height):
        above = (line // half_height * height + 2 * (line % half_height)) * length
        below = above + length
        out, end = line * half, (line + 1) * half
        upper, lower = x[above : above + used], x[below : below + used]
        _maxima(upper[:last], upper[channels:], lower[:last], lower[channels:], best, place)
        every_second_run(best, y[out:end], channels)
        _mark(left, place, even, marks[2 * out : 2 * end])


def activate_and_pool(
    x_pointer: Any,
    y_pointer: Any,
    winners_pointer: Any,
    marks_pointer: Any,
    images: Any,
    height: Any,
    width: Any,
    channels: Any,
    slope_pointer: Any,
    offset_pointer: Any,
    key: Any,
    threshold: Any,
    pooled_key: Any,
    pooled_threshold: Any,
) -> None:
    """Write y = dropout(maxpool(dropout(relu(slope * x + offset)))); thresholds of 0: no dropout.

    Also writes marks as ``pool``, and what x was where each window's winner is, of the shape of
    y: all that the sums of the backward pass need.
    """
    half_height, half_width = height // 2, width // 2
    length, half = width * channels, half_width * channels
    used = 2 * half
    x = carray(x_pointer, images * height * length)
    y = carray(y_pointer, images * half_height * half)
    winners = carray(winners_pointer, images * half_height * half)
    marks = carray(marks_pointer, images * half_height * used)
    slope = carray(slope_pointer, length)
    offset = carray(offset_pointer, length)
    upper = np.empty(used, slope.dtype)
    lower = np.empty(used, slope.dtype)
    best = np.zeros(used, x.dtype)
    winner = np.zeros(used, x.dtype)
    padded = np.zeros(channels + used, np.uint8)
    left, place = padded[:used], padded[channels:]
    even = _even_columns(used, channels)
    last = used - channels
    for line in range(images * half_height):
        above = (line // half_height * height + 2 * (line % half_height)) * length
        below = above + length
        out, end = line * half, (line + 1) * half
        upper_x, lower_x = x[above : above + used], x[below : below + used]
        activate_line(upper_x, slope, offset, upper)
        activate_line(lower_x, slope, offset, lower)
        if threshold > 0:
            _drop_line(upper, np.uint32(np.uint32(key) + np.uint32(above)), threshold)
            _drop_line(lower, np.uint32(np.uint32(key) + np.uint32(below)), threshold)
        _maxima(upper[:last], upper[channels:], lower[:last], lower[channels:], best, place)
        _select(
            upper_x[:last], upper_x[channels:], lower_x[:last], lower_x[channels:], place, winner
        )
        every_second_run(best, y[out:end], channels)
        every_second_run(winner, winners[out:end], channels)
        _mark(left, place, even, marks[2 * out : 2 * end])
        if pooled_threshold > 0:
            first = np.uint32(np.uint32(pooled_key) + np.uint32(out))
            _drop_line(y[out:end], first, pooled_threshold)


# As in ``normalise``; I is the address of marks.
SIGNATURES = {pool: "PPI NNNN", activate_and_pool: "PPPI NNNN SS UUUU"}
