"""Operators in C that compute value by value, and the mean of a map."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from search.exporting.micro.c.declarations import divided, multiplier_of
from search.exporting.micro.c.writing import Unwritable, Writing
from search.exporting.micro.graph import Operator

TABLES: dict[str, Callable[[float], float]] = {
    "LOGISTIC": lambda x: 0.5 * (1 + math.tanh(x / 2)),
    "TANH": math.tanh,
    "HARD_SWISH": lambda x: x * min(max(x + 3, 0), 6) / 6,
    "RELU": lambda x: max(x, 0),
    "RELU6": lambda x: min(max(x, 0), 6),
    "QUANTIZE": lambda x: x,
}
FLOATS = {
    "LOGISTIC": ("logistic", ""),
    "TANH": ("hyperbolic_tangent", ""),
    "HARD_SWISH": ("hard_swish", ""),
    "RELU": ("relu", "INFINITY"),
    "RELU6": ("relu", "6.0f"),
}


def mean(writing: Writing, operator: Operator, number: int) -> str:
    """The mean of each channel over a map."""
    taken, given = operator.inputs[0] or 0, operator.outputs[0]
    shape = writing.graph.shape(taken)
    axes = writing.graph.tensors[operator.inputs[1] or 0].data
    assert axes is not None
    found = sorted(int(axis) % len(shape) for axis in axes.reshape(-1))
    *outer, c = shape
    if found != list(range(1, len(shape) - 1)) or outer[0] != 1:
        raise Unwritable(f"{operator.kind} over axes {found} of {len(shape)}")
    places = math.prod(outer)
    kernel, (source, target) = writing.declared.use("mean"), writing.places(operator)
    given_places = f"{kernel}({source}, {target}, {places}, {c}"
    if not writing.is_int8:
        return f"{given_places});"
    a, out = writing.graph.tensors[taken], writing.graph.tensors[given]
    multiplier, shift = divided(*multiplier_of(a.scale / out.scale), places)
    return f"{given_places}, {a.zero}, {out.zero}, {multiplier}, {shift});"


def binary(writing: Writing, operator: Operator, number: int) -> str:
    """A sum, a difference or a product of two inputs, the smaller one repeated."""
    first, second = (index for index in operator.inputs if index is not None)
    given = operator.outputs[0]
    a, b, out = (writing.graph.tensors[index] for index in (first, second, given))
    repeats = [_repeat(of.shape, out.shape) for of in (a, b)]
    low, high = writing.limits(operator)
    minus = int(operator.kind == "SUB")
    fields = [str(out.values), *(f"{{{every}, {count}}}" for every, count in repeats)]
    if writing.is_int8:
        if operator.kind == "MUL":
            factors = [(0, 0), (0, 0), multiplier_of(a.scale * b.scale / out.scale)]
        else:
            twice = 2 * max(a.scale, b.scale)
            of = (a.scale / twice, b.scale / twice, twice / (2**20 * out.scale))
            factors = [multiplier_of(factor) for factor in of]
        multipliers, shifts = zip(*factors, strict=True)
        fields += map(str, (*multipliers, *shifts, a.zero, b.zero, out.zero))
    fields += [low, high, str(minus)]
    how = writing.declared.struct("binary_t", f"binary_{number}", ", ".join(fields))
    kernel = writing.declared.use("multiply" if operator.kind == "MUL" else "add")
    places = [writing.at(first, f"first_{number}"), writing.at(second, f"second_{number}")]
    return f"{kernel}(&{how}, {places[0]}, {places[1]}, AT({writing.offset(given)}));"


def each(writing: Writing, operator: Operator, number: int) -> str:
    """An activation function: a table of all 256 values in int8."""
    (source, target), given = writing.places(operator), operator.outputs[0]
    n = writing.graph.tensors[given].values
    if not writing.is_int8:
        if operator.kind not in FLOATS:
            raise Unwritable(operator.kind)
        name, settings = FLOATS[operator.kind]
        writing.declared.use("each")
        writing.declared.struct("float", f"settings_{number}[]", settings or "0")
        return f"each({source}, {target}, {n}, {writing.declared.use(name)}, settings_{number});"
    if operator.kind not in TABLES:
        raise Unwritable(operator.kind)
    a, out = writing.graph.tensors[operator.inputs[0] or 0], writing.graph.tensors[given]
    reals = [(value - a.zero) * a.scale for value in range(-128, 128)]
    made = [round(TABLES[operator.kind](real) / out.scale) + out.zero for real in reals]
    table = writing.declared.array(f"table_{number}", "int8_t", np.clip(made, -128, 127))
    return f"{writing.declared.use('table')}({source}, {target}, {n}, {table});"


def _repeat(shape: tuple[int, ...], out: tuple[int, ...]) -> tuple[int, int]:
    """How an input is repeated over an output: value ``i / every % count`` belongs to ``i``."""
    full = (1,) * (len(out) - len(shape)) + shape
    own = [axis for axis, size in enumerate(full) if size > 1]
    if not own:
        return 1, 1
    first, last = own[0], own[-1]
    if full[first : last + 1] != out[first : last + 1]:
        raise Unwritable("arrays repeated over several axes")
    return math.prod(out[last + 1 :]), math.prod(full)
