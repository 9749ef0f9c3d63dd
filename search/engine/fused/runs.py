"""Copies between lines: into a border of zeros, and by runs.

Runs of one column's channels inside a line: every second one kept, or each one doubled.

The copies go in the largest words that a run consists of, several to a turn where it is long:
runs are short (8 to 64 bytes), and copying element by element costs more than the arithmetic.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from search.engine.fused.numeric import compiled


@compiled
def every_second_run(source: Any, target: Any, channels: Any) -> None:
    """Runs 0, 2, 4, ... of `source`, [2 * n] runs, side by side in `target`, [n] runs."""
    size = channels * source.itemsize
    count = len(target) // channels
    if size == 8:
        _one_word(source.view(np.uint64), target.view(np.uint64), count)
    elif size == 16:
        _two_words(source.view(np.uint64), target.view(np.uint64), count)
    elif size % 32 == 0:
        _four_words(source.view(np.uint64), target.view(np.uint64), count, size // 32)
    elif size % 8 == 0:
        _words(source.view(np.uint64), target.view(np.uint64), count, size // 8)
    elif size % 4 == 0:
        _words(source.view(np.uint32), target.view(np.uint32), count, size // 4)
    else:
        _words(source, target, count, channels)


@compiled
def double_runs(source: Any, target: Any, channels: Any) -> None:
    """Each run of `source`, [n] runs, twice in `target`, [2 * n] runs."""
    size = channels * source.itemsize
    count = len(source) // channels
    if size % 16 == 0:
        _double_pairs(source.view(np.uint64), target.view(np.uint64), count, size // 16)
    elif size % 8 == 0:
        _double(source.view(np.uint64), target.view(np.uint64), count, size // 8)
    elif size % 4 == 0:
        _double(source.view(np.uint32), target.view(np.uint32), count, size // 4)
    else:
        _double(source, target, count, channels)


# Positions are unsigned: numba then leaves out the test for negative indices.


@compiled
def _one_word(source: Any, target: Any, count: Any) -> None:
    for run in range(np.uint64(count)):
        target[run] = source[np.uint64(2) * run]


@compiled
def _two_words(source: Any, target: Any, count: Any) -> None:
    one = np.uint64(1)
    for run in range(np.uint64(count)):
        start, out = np.uint64(4) * run, np.uint64(2) * run
        first, second = source[start], source[start + one]
        target[out] = first
        target[out + one] = second


@compiled
def _four_words(source: Any, target: Any, count: Any, quads: Any) -> None:
    start, out = np.uint64(0), np.uint64(0)
    one, two, three, four = np.uint64(1), np.uint64(2), np.uint64(3), np.uint64(4)
    for _ in range(count):
        for _ in range(quads):
            first, second = source[start], source[start + one]
            third, fourth = source[start + two], source[start + three]
            target[out] = first
            target[out + one] = second
            target[out + two] = third
            target[out + three] = fourth
            start += four
            out += four
        start += four * np.uint64(quads)


@compiled
def _words(source: Any, target: Any, count: Any, length: Any) -> None:
    start, out, words = np.uint64(0), np.uint64(0), np.uint64(length)
    for _ in range(count):
        for word in range(words):
            target[out + word] = source[start + word]
        start += words + words
        out += words


@compiled
def _double_pairs(source: Any, target: Any, count: Any, pairs: Any) -> None:
    start, out = np.uint64(0), np.uint64(0)
    one, two, length = np.uint64(1), np.uint64(2), np.uint64(2 * pairs)
    for _ in range(count):
        for _ in range(pairs):
            first, second = source[start], source[start + one]
            target[out] = first
            target[out + one] = second
            target[out + length] = first
            target[out + length + one] = second
            start += two
            out += two
        out += length


@compiled
def _double(source: Any, target: Any, count: Any, length: Any) -> None:
    start, out, words = np.uint64(0), np.uint64(0), np.uint64(length)
    for _ in range(count):
        for word in range(words):
            value = source[start + word]
            target[out + word] = value
            target[out + words + word] = value
        start += words
        out += words + words


@compiled
def copy_values(source: Any, target: Any) -> None:
    """Copy a line."""
    for j in range(len(target)):
        target[j] = source[j]


@compiled
def clear(values: Any) -> None:
    """Set a line to zero."""
    for j in range(len(values)):
        values[j] = values.dtype.type(0)


@compiled
def copy_inside(
    values: Any, bordered: Any, line: Any, height: Any, width: Any, channels: Any, border: Any
) -> None:
    """Line number `line` of a batch of maps into the same maps with a border of zeros.

    The first and the last line of a map also clear the border above and below.
    """
    image, row = line // height, line % height
    side, inner = border * channels, width * channels
    length = inner + 2 * side
    start = (image * (height + 2 * border) + border + row) * length
    end = start + length
    clear(bordered[start : start + side])
    copy_values(values, bordered[start + side : end - side])
    clear(bordered[end - side : end])
    if row == 0:
        clear(bordered[start - border * length : start])
    if row == height - 1:
        clear(bordered[end : end + border * length])
