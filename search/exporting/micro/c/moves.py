"""Operators in C that move values and compute none."""

from __future__ import annotations

import math

from search.exporting.micro.c.declarations import number_text
from search.exporting.micro.c.writing import Unwritable, Writing
from search.exporting.micro.graph import Operator


def pad(writing: Writing, operator: Operator, number: int) -> str:
    """A map with a border of zeros, or of a value."""
    (_, in_h, in_w, c), (_, out_h, out_w, out_c) = writing.four(operator)
    pads = writing.graph.tensors[operator.inputs[1] or 0].data
    assert pads is not None
    if out_c != c or pads[0].any():
        raise Unwritable(f"{operator.kind} of other axes than height and width")
    fill: float = writing.graph.tensors[operator.outputs[0]].zero if writing.is_int8 else 0.0
    if len(operator.inputs) > 2:
        value = writing.graph.tensors[operator.inputs[2] or 0].data
        assert value is not None
        fill = value.reshape(-1)[0].item()
    source, target = writing.places(operator)
    sizes = ", ".join(map(str, (in_h, in_w, c, pads[1][0], pads[2][0], out_h, out_w)))
    return (
        f"{writing.declared.use('copy_padded')}({source}, {target}, {sizes}, {number_text(fill)});"
    )


def transpose(writing: Writing, operator: Operator, number: int) -> str:
    """Axes in another order."""
    shape = writing.graph.shape(operator.inputs[0] or 0)
    order = writing.graph.tensors[operator.inputs[1] or 0].data
    assert order is not None
    if len(shape) > 5:
        raise Unwritable("TRANSPOSE of more than five axes")
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    unused = 5 - len(shape)
    sizes = [1] * unused + [shape[axis] for axis in order]
    moves = [0] * unused + [steps[axis] for axis in order]
    for name, values in (("size", sizes), ("step", moves)):
        listed = ", ".join(map(str, values))
        writing.declared.struct("int", f"{name}_{number}[5]", listed)
    source, target = writing.places(operator)
    return f"{writing.declared.use('transpose')}({source}, {target}, size_{number}, step_{number});"


def concatenation(writing: Writing, operator: Operator, number: int) -> str:
    """Inputs one after the other along an axis, a call for each."""
    given = operator.outputs[0]
    shape = writing.graph.shape(given)
    axis = operator.options["axis"] % len(shape)
    row = math.prod(shape[axis:])
    rows, at, calls = math.prod(shape[:axis]), 0, []
    if operator.options.get("fusedActivationFunction", 0):
        raise Unwritable("CONCATENATION with an activation")
    for position, index in enumerate(operator.inputs):
        size = math.prod(writing.graph.shape(index or 0)[axis:])
        source = writing.at(index, f"part_{number}_{position}")
        calls.append(
            f"{writing.declared.use('join')}({source}, AT({writing.offset(given)}), "
            f"{rows}, {size}, {row}, {at});"
        )
        at += size
    return "\n  ".join(calls)
