"""What the tiles of a convolution read beside the map: the table of places and the weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from search.training.kernels.compiled.numeric import by_type, compiled, narrow_bits
from search.training.kernels.compiled.vectors import BLOCK


@compiled
def make_table(channels: Any, kernel: Any, x_channel: Any, x_row: Any, x_column: Any) -> Any:
    """Where the inputs of an output lie, in bytes from the first, and the last one again."""
    count = channels * kernel * kernel
    table = np.empty(count + 1, np.int64)
    for channel in range(channels):
        for i in range(kernel):
            for j in range(kernel):
                at = (channel * kernel + i) * kernel + j
                table[at] = channel * x_channel + i * x_row + j * x_column
    table[count] = table[count - 1]
    return table


@compiled
def part_of(block: Any, blocks: Any, total: Any) -> Any:
    """Where a block begins, and how much it has, if a total is divided as evenly as can be."""
    first = block * total // blocks
    return first, (block + 1) * total // blocks - first


@compiled
def in_table_order(
    weights: Any,
    outputs: Any,
    channels: Any,
    kernel: Any,
    strides: Any,
    turned: Any,
) -> Any:
    """The weights as ``[outputs, channels * kernel^2]``."""
    of_output, of_channel, of_row, of_column = strides
    filters = np.empty((outputs, channels * kernel * kernel), weights.dtype)
    for output in range(outputs):
        for channel in range(channels):
            for i in range(kernel):
                for j in range(kernel):
                    row, column = (kernel - 1 - i, kernel - 1 - j) if turned else (i, j)
                    place = output * of_output + channel * of_channel
                    at = (channel * kernel + i) * kernel + j
                    filters[output, at] = weights[place + row * of_row + column * of_column]
    return filters


def make_weights(filters: Any, element: Any) -> Any:
    """Filters as tiles read them: blocks of outputs, in each ``[count, block]``; flat.

    For bfloat16 words of two of them, and half the count.
    """
    raise NotImplementedError("only inside compiled code")


@by_type(make_weights)
def _weights_of(filters: Any, element: Any) -> Any:
    def numbers(filters: Any, element: Any) -> Any:
        outputs, count = filters.shape
        weights = np.empty(count * outputs, filters.dtype)
        blocks = (outputs + BLOCK - 1) // BLOCK
        at = 0
        for block in range(blocks):
            first, many = part_of(block, blocks, outputs)
            for r in range(count):
                for output in range(first, first + many):
                    weights[at] = filters[output, r]
                    at += 1
        return weights

    def pairs(filters: Any, element: Any) -> Any:
        outputs, count = filters.shape
        weights = np.empty((count + 1) // 2 * outputs, np.uint32)
        blocks = (outputs + BLOCK - 1) // BLOCK
        at = 0
        for block in range(blocks):
            first, many = part_of(block, blocks, outputs)
            for r in range(0, count, 2):
                for output in range(first, first + many):
                    word = np.uint32(narrow_bits(filters[output, r]))
                    if r + 1 < count:
                        word |= np.uint32(narrow_bits(filters[output, r + 1])) << np.uint32(16)
                    weights[at] = word
                    at += 1
        return weights

    return pairs if element.bitwidth == 16 else numbers
