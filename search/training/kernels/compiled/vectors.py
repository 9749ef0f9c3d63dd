"""The two innermost loops of convolutions, written in vector registers.

Maps lie in memory as channels x height x width x images: the images of a batch are neighbours, so
one vector holds the same place of several images and every instruction is full, whatever the
number of channels. A compiler does not keep a tile of sums in registers through such loops by
itself; here tiles are spelled out, one for each size, in LLVM's language. Addresses and strides
are bytes, and nothing need be aligned.

    forward(element, x, table, count, weights, start, y, y_channel, block)

``element`` only tells the type. For outputs k < block and the numbers of a tile::

    y[k] = start[k] + sum over r < count of weights[r, k] * (x + table[r])

weights are ``[count, block]``; of bfloat16, both they and the table are of pairs::

    y[k] = start[k] + sum over r < count of weights[r, k, 0] * (x + table[r, 0])
                                          + weights[r, k, 1] * (x + table[r, 1])

    backward(element, x, table, x_row, dz, dz_channel, dz_row, rows, count, sums, stride, outputs,
             inputs)

For outputs k and inputs j, over `rows` rows of `count` vectors, with `stride` between the rows of
the sums, which are numbers::

    sums[k, j] += sum of dz[k] * (x + table[j])
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from search.training.kernels.compiled.registers import GROUP, I64, VECTOR, emitter

BLOCK = 6  # outputs of a forward tile; 6 x 4 sums, 4 inputs and a weight fill 32 registers
# Of a backward tile: sums, one input and the gradients fill 32 registers, or AVX2's 16.
OUTPUTS, INPUTS = (4, 6) if VECTOR == 64 else (3, 4)


def _forward(*, whole: bool) -> Any:
    def tile(  # type: ignore[no-untyped-def]
        _typing, element, x, table, count, weights, start, y, y_channel, block
    ) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            _, x, table, count, weights, start, y, y_channel, block = arguments
            emit = emitter(context, builder, element)
            group = GROUP if whole else emit.values

            def body(block: int) -> None:
                totals = emit.totals(block, group)
                for k in range(block):
                    first = emit.load_start(emit.plus(start, k * emit.width))
                    for total in totals[k]:
                        builder.store(first, total)
                with cgutils.for_range(builder, count) as loop:
                    values = emit.load_values(x, table, loop.index, group)
                    line = builder.add(weights, emit.times(loop.index, block * emit.width))
                    for k in range(block):
                        weight = emit.load_weight(emit.plus(line, k * emit.width))
                        for g in range(group):
                            emit.add_product(weight, values[g], totals[k][g])
                for k in range(block):
                    emit.store_sums(totals[k], builder.add(y, emit.times(y_channel, k)))

            emit.switch(block, range(1, BLOCK + 1), body)
            return context.get_dummy_value()

        return types.void(element, *[types.int64] * 8), generate

    return intrinsic(tile)


def _backward(  # type: ignore[no-untyped-def]
    _typing,
    element,
    x,
    table,
    x_row,
    dz,
    dz_channel,
    dz_row,
    rows,
    count,
    sums,
    stride,
    outputs,
    inputs,
) -> Any:
    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        _, x, table, x_row, dz, dz_channel, dz_row, *rest = arguments
        rows, count, sums, stride, some_outputs, some_inputs = rest
        emit = emitter(context, builder, element)

        def body(size: int) -> None:
            outputs, inputs = divmod(size, INPUTS + 1)
            steps = [emit.load(emit.plus(table, 8 * j), I64, 8) for j in range(inputs)]
            totals = emit.totals(outputs, inputs)
            for line in totals:
                for total in line:
                    builder.store(ir.Constant(emit.sums, None), total)
            with cgutils.for_range(builder, rows) as row:
                x_start = builder.add(x, builder.mul(row.index, x_row))
                dz_start = builder.add(dz, builder.mul(row.index, dz_row))
                sources = [builder.add(x_start, step) for step in steps]
                gradients = [
                    builder.add(dz_start, emit.times(dz_channel, k)) for k in range(outputs)
                ]
                with cgutils.for_range(builder, count) as column:
                    at = emit.times(column.index, VECTOR)
                    dzs = [emit.load_vector(builder.add(place, at)) for place in gradients]
                    for j in range(inputs):
                        value = emit.load_vector(builder.add(sources[j], at))
                        for k in range(outputs):
                            emit.add_product(dzs[k], value, totals[k][j])
            for k in range(outputs):
                for j in range(inputs):
                    place = builder.add(sums, emit.times(stride, k))
                    place = emit.plus(place, j * emit.width)
                    before = emit.load(place, emit.number, emit.width)
                    added = emit.sum_of_lanes(builder.load(totals[k][j]))
                    emit.store(builder.fadd(before, added), place, emit.width)

        size = builder.add(emit.times(some_outputs, INPUTS + 1), some_inputs)
        emit.switch(size, range(INPUTS + 2, OUTPUTS * (INPUTS + 1) + INPUTS + 1), body)
        return context.get_dummy_value()

    return types.void(element, *[types.int64] * 12), generate


# A tile has the numbers of GROUP vectors of sums, or those of one vector of the map.
forward_group = _forward(whole=True)
forward_vector = _forward(whole=False)
backward: Any = intrinsic(_backward)
