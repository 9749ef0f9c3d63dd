"""Compiled convolution of stride 1, and the gradient of its weights.

Nothing is copied into columns first: a table says where each of the R = channels * kernel^2
inputs of an output lies relative to it, and the tiles of ``vectors`` sum over that table
("indirect convolution", Dukhan 2019, arXiv:1907.02129). Borders of zeros lie around the maps in
memory, so no place is special.

The gradient of the input is a convolution too: of the gradient inside a padding of
kernel - 1 - padding zeros, with turned weights.

Addresses and strides of maps are bytes; strides of weights count numbers.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from search.training.kernels.compiled.convolution_weights import (
    in_table_order,
    make_table,
    make_weights,
    part_of,
)
from search.training.kernels.compiled.numeric import carray, compiled, load_at, size_of, store_at
from search.training.kernels.compiled.registers import GROUP, VECTOR
from search.training.kernels.compiled.vectors import (
    BLOCK,
    INPUTS,
    OUTPUTS,
    backward,
    forward_group,
    forward_vector,
)

# Bytes that the rows of both maps may have while all sums over them are made: half of what a
# core's second-level cache has (1 MiB on AMD's Zen 4 and 5, 1 to 2 MiB on Intel's servers).
STRETCH = 512 * 1024


@compiled
def _gather(element: Any, address: Any, table: Any, some: Any) -> Any:
    """A few neighbouring elements at each place of a table, filled up to a vector with zeros."""
    found = np.zeros((len(table), VECTOR), np.uint8)
    for r in range(len(table)):
        for i in range(some):
            at = i * size_of(element)
            value = load_at(element, address + table[r] + at)
            store_at(found.ctypes.data + r * VECTOR + at, value)
    return found


@compiled
def _lines(count: Any) -> Any:
    """The table of what ``_gather`` found."""
    return np.arange(count) * VECTOR


@compiled
def _outputs(
    element: Any,
    x: Any,
    table: Any,
    count: Any,
    weights: Any,
    start: Any,
    y: Any,
    y_channel: Any,
    whole: Any,
) -> None:
    """One tile of all outputs."""
    outputs = len(start)
    blocks = (outputs + BLOCK - 1) // BLOCK
    places, begin, address = table.ctypes.data, start.ctypes.data, weights.ctypes.data
    for block in range(blocks):
        first, many = part_of(block, blocks, outputs)
        own = address + first * count * weights.itemsize
        sums = begin + first * start.itemsize
        target = y + first * y_channel
        if whole:
            forward_group(element, x, places, count, own, sums, target, y_channel, many)
        else:
            forward_vector(element, x, places, count, own, sums, target, y_channel, many)


def convolve(
    element: Any,
    x: Any,
    x_channel: Any,
    x_row: Any,
    y: Any,
    y_channel: Any,
    y_row: Any,
    channels: Any,
    outputs: Any,
    kernel: Any,
    rows: Any,
    columns: Any,
    images: Any,
    weights_pointer: Any,
    of_output: Any,
    of_channel: Any,
    of_row: Any,
    of_column: Any,
    turned: Any,
    start_pointer: Any,
) -> None:
    """Write y = start + x * weights; `turned`: with the kernel upside down.

    x is at the input under the first output's first weight, y at the first output. ``start`` is
    [outputs]; ``element`` only tells the type.
    """
    start = carray(start_pointer, outputs)
    weights = carray(weights_pointer, outputs * channels * kernel * kernel)
    strides = (of_output, of_channel, of_row, of_column)
    filters = in_table_order(weights, outputs, channels, kernel, strides, turned)
    weights = make_weights(filters, element)
    count = len(weights) // outputs
    width = images * size_of(element)
    length = columns * width
    table = make_table(channels, kernel, x_channel, x_row, width)
    tile = GROUP * VECTOR * size_of(element) // start.itemsize
    rest = np.empty((outputs, VECTOR), np.uint8)
    for line in range(rows):
        source, target = x + line * x_row, y + line * y_row
        done = 0
        while done + VECTOR <= length:
            here, step = done, tile if done + tile <= length else VECTOR
            if width % tile == 0:  # the same images over all columns first: they fit the cache
                number = done // tile
                here = number % columns * width + number // columns * tile
            _outputs(
                element,
                source + here,
                table,
                count,
                weights,
                start,
                target + here,
                y_channel,
                step == tile,
            )
            done += step
        if done < length:
            some = (length - done) // size_of(element)
            found = _gather(element, source + done, table, some)
            _outputs(
                element,
                found.ctypes.data,
                _lines(len(table)),
                count,
                weights,
                start,
                rest.ctypes.data,
                VECTOR,
                False,
            )
            for k in range(outputs):
                for i in range(some):
                    at = i * size_of(element)
                    value = load_at(element, rest.ctypes.data + k * VECTOR + at)
                    store_at(target + done + k * y_channel + at, value)


@compiled
def _add_products(
    element: Any,
    x: Any,
    table: Any,
    x_row: Any,
    dz: Any,
    dz_channel: Any,
    dz_row: Any,
    rows: Any,
    vectors: Any,
    sums: Any,
) -> None:
    """All sums over some rows."""
    outputs, count = sums.shape
    k_blocks = (outputs + OUTPUTS - 1) // OUTPUTS
    j_blocks = (count + INPUTS - 1) // INPUTS
    stride = count * sums.itemsize
    for j_block in range(j_blocks):
        j, some_inputs = part_of(j_block, j_blocks, count)
        for k_block in range(k_blocks):
            k, some_outputs = part_of(k_block, k_blocks, outputs)
            backward(
                element,
                x,
                table.ctypes.data + 8 * j,
                x_row,
                dz + k * dz_channel,
                dz_channel,
                dz_row,
                rows,
                vectors,
                sums.ctypes.data + k * stride + j * sums.itemsize,
                stride,
                some_outputs,
                some_inputs,
            )


def weight_gradient(
    element: Any,
    x: Any,
    x_channel: Any,
    x_row: Any,
    dz: Any,
    dz_channel: Any,
    dz_row: Any,
    channels: Any,
    outputs: Any,
    kernel: Any,
    rows: Any,
    columns: Any,
    images: Any,
    gradient_pointer: Any,
    of_output: Any,
    of_channel: Any,
    of_row: Any,
    of_column: Any,
) -> None:
    """Write the gradient of the weights from x and the gradient of y; x as in ``convolve``."""
    count = channels * kernel * kernel
    gradient = carray(gradient_pointer, outputs * count)
    table = make_table(channels, kernel, x_channel, x_row, images * size_of(element))
    sums = np.zeros((outputs, count), gradient.dtype)
    length = columns * images * size_of(element)
    vectors = length // VECTOR
    done = vectors * VECTOR
    some = (length - done) // size_of(element)
    stretch = max(2, STRETCH // ((channels + outputs) * length))
    for row in range(0, rows, stretch):
        source, above = x + row * x_row, dz + row * dz_row
        many = min(stretch, rows - row)
        _add_products(element, source, table, x_row, above, dz_channel, dz_row, many, vectors, sums)
    if some > 0:
        channel_places = np.arange(outputs) * dz_channel
        for row in range(rows):
            inputs = _gather(element, x + row * x_row + done, table, some)
            gradients = _gather(element, dz + row * dz_row + done, channel_places, some)
            _add_products(
                element,
                inputs.ctypes.data,
                _lines(count),
                0,
                gradients.ctypes.data,
                VECTOR,
                0,
                1,
                1,
                sums,
            )
    for output in range(outputs):
        for channel in range(channels):
            for i in range(kernel):
                for j in range(kernel):
                    place = output * of_output + channel * of_channel + i * of_row + j * of_column
                    gradient[place] = sums[output, (channel * kernel + i) * kernel + j]


# As in ``normalise``.
SIGNATURES = {
    convolve: "E NNN NNN NNNNNN SNNNNN S",
    weight_gradient: "E NNN NNN NNNNNN SNNNN",
}
