"""The operators of a network as statements in C."""

from __future__ import annotations

from search.exporting.micro.c import moves, values, weighted
from search.exporting.micro.c.writing import Unwritable, Writing
from search.exporting.micro.planning import VIEWS

WRITERS = {
    "CONV_2D": weighted.convolution,
    "DEPTHWISE_CONV_2D": weighted.convolution,
    "FULLY_CONNECTED": weighted.fully_connected,
    "MAX_POOL_2D": weighted.pool,
    "AVERAGE_POOL_2D": weighted.pool,
    "MEAN": values.mean,
    "ADD": values.binary,
    "SUB": values.binary,
    "MUL": values.binary,
    "PAD": moves.pad,
    "PADV2": moves.pad,
    "TRANSPOSE": moves.transpose,
    "CONCATENATION": moves.concatenation,
    **dict.fromkeys((*values.TABLES, *values.FLOATS), values.each),
}


def step(writing: Writing, number: int) -> str:
    """An operator as a statement; declares the constants and kernels that it needs.

    Raises:
        Unwritable: If it is none of those that are written here.
    """
    operator = writing.graph.operators[number]
    if operator.kind in VIEWS:
        return f"  /* {operator.kind}: the same numbers */"
    if operator.kind not in WRITERS:
        raise Unwritable(operator.kind)
    call = WRITERS[operator.kind](writing, operator, number)
    shapes = " x ".join(map(str, writing.graph.shape(operator.outputs[0])[1:]))
    return f"  {call} /* {operator.kind}: {shapes} */"
