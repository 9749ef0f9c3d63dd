"""The operators of a network as statements in C, with the constants and kernels that they need."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from search.exporting.micro.c.declarations import (
    Declarations,
    divided,
    multiplier_of,
    number_text,
)
from search.exporting.micro.graph import SAME, Graph, Operator
from search.exporting.micro.planning import VIEWS, Plan, plan

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
    "RELU": ("relu", "0.0f, INFINITY"),
    "RELU6": ("relu", "0.0f, 6.0f"),
    "LEAKY_RELU": ("relu", "{alpha}, INFINITY"),
}


class Unwritable(ValueError):
    """The program would need an operator that is not written here; the message names it."""


class Steps:
    """Writes the steps of a graph, and declares the constants and kernels that they need.

    Args:
        graph: All in int8 or all in float32.

    Raises:
        Unwritable: If it is neither.

    Attributes:
        kind: int8 or float32.
        plan: Where its activations lie.
        declared: What the steps written so far need.
    """

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.plan: Plan = plan(graph)
        taken = graph.tensors[graph.input].type
        self.kind = "int8" if taken is np.int8 else "float32"
        self.type = "int8_t" if taken is np.int8 else "float"
        for tensor in graph.tensors:
            if tensor.data is None and tensor.type is not taken:
                raise Unwritable("a mixture of int8 and float32")
        self.declared = Declarations()

    @property
    def is_int8(self) -> bool:
        """Whether the graph is."""
        return self.kind == "int8"

    def offset(self, index: int) -> int:
        """Where an activation lies, in values."""
        return self.plan.offsets[index] // np.dtype(self.graph.tensors[index].type).itemsize

    def step(self, number: int) -> str:
        """An operator as a statement."""
        operator = self.graph.operators[number]
        if operator.kind in VIEWS:
            return f"  /* {operator.kind}: the same numbers */"
        writers = {
            "CONV_2D": self._convolution,
            "DEPTHWISE_CONV_2D": self._convolution,
            "FULLY_CONNECTED": self._fully_connected,
            "MAX_POOL_2D": self._pool,
            "AVERAGE_POOL_2D": self._pool,
            "MEAN": self._mean,
            "ADD": self._binary,
            "SUB": self._binary,
            "MUL": self._binary,
            "PAD": self._pad,
            "PADV2": self._pad,
            "TRANSPOSE": self._transpose,
            "CONCATENATION": self._concatenation,
            **dict.fromkeys((*TABLES, *FLOATS), self._each),
        }
        if operator.kind not in writers:
            raise Unwritable(operator.kind)
        call = writers[operator.kind](operator, number)
        shapes = " x ".join(map(str, self.graph.shape(operator.outputs[0])[1:]))
        return f"  {call} /* {operator.kind}: {shapes} */"

    def _at(self, index: int | None, name: str) -> str:
        """An activation's place, or a constant's name."""
        assert index is not None
        tensor = self.graph.tensors[index]
        if tensor.data is not None:
            return self.declared.array(name, self.type, tensor.data)
        return f"AT({self.offset(index)})"

    def _places(self, operator: Operator) -> tuple[str, str]:
        return self._at(operator.inputs[0], "constant"), self._at(operator.outputs[0], "")

    def _limits(self, operator: Operator) -> tuple[str, str]:
        """The least and the most that an activation function lets through."""
        kind = operator.options.get("fusedActivationFunction", 0)
        if kind not in (0, 1, 3):
            raise Unwritable(f"{operator.kind} with an activation of kind {kind}")
        low = -math.inf if kind == 0 else 0.0
        high = 6.0 if kind == 3 else math.inf
        if not self.is_int8:
            return number_text(low), number_text(high)
        out = self.graph.tensors[operator.outputs[0]]
        least = -128 if low == -math.inf else max(-128, out.zero)
        most = 127 if high == math.inf else min(127, out.zero + round(high / out.scale))
        return str(least), str(most)

    def _window(self, operator: Operator, number: int, kernel: tuple[int, int], group: int) -> str:
        """How a kernel moves over a map; returns the name of the constant that says it."""
        (_, in_h, in_w, in_c), (_, out_h, out_w, out_c) = self._four(operator)
        options = operator.options
        strides = (options["strideH"], options["strideW"])
        dilations = (options.get("dilationHFactor", 1), options.get("dilationWFactor", 1))
        pads = [
            max((out - 1) * stride + (taps - 1) * dilation + 1 - size, 0) // 2
            if options["padding"] == SAME
            else 0
            for size, out, taps, stride, dilation in zip(
                (in_h, in_w), (out_h, out_w), kernel, strides, dilations, strict=True
            )
        ]
        sizes = (in_h, in_w, in_c, out_h, out_w, out_c, *kernel, group)
        listed = ", ".join(map(str, (*sizes, *strides, *dilations, *pads)))
        return self.declared.struct("window_t", f"window_{number}", listed)

    def _four(self, operator: Operator) -> tuple[tuple[int, ...], tuple[int, ...]]:
        shapes = self.graph.shape(operator.inputs[0] or 0), self.graph.shape(operator.outputs[0])
        if any(len(shape) != 4 for shape in shapes):
            raise Unwritable(f"{operator.kind} of other than four axes")
        return shapes

    def _scaling(self, operator: Operator, number: int, channels: int) -> str:
        """Weights, and how sums become values; returns the name of the constant that says it."""
        taken, weights, given = operator.inputs[0], operator.inputs[1], operator.outputs[0]
        assert taken is not None and weights is not None
        a, w, out = (self.graph.tensors[index] for index in (taken, weights, given))
        if w.data is None:
            raise Unwritable(f"{operator.kind} whose weights are computed")
        names = [self.declared.weights(f"weights_{number}", self.type, w.data)]
        bias = operator.inputs[2] if len(operator.inputs) > 2 else None
        if bias is None:
            names.append("NULL")
        else:
            kind = "int32_t" if self.is_int8 else "float"
            data = self.graph.tensors[bias].data
            names.append(self.declared.array(f"bias_{number}", kind, data))
        if self.is_int8:
            scales = np.broadcast_to(w.scales.astype(np.float64), channels)
            factors = [multiplier_of(a.scale * float(of) / out.scale) for of in scales]
            multipliers, shifts = zip(*factors, strict=True)
            names.append(self.declared.array(f"multipliers_{number}", "int32_t", multipliers))
            names.append(self.declared.array(f"shifts_{number}", "int8_t", shifts))
            names += [str(a.zero), str(out.zero)]
        listed = ", ".join((*names, *self._limits(operator)))
        return self.declared.struct("scaling_t", f"scaling_{number}", listed)

    def _convolution(self, operator: Operator, number: int) -> str:
        in_c, out_c = (shape[3] for shape in self._four(operator))
        _, kernel_h, kernel_w, last = self.graph.shape(operator.inputs[1] or 0)
        depthwise = operator.kind == "DEPTHWISE_CONV_2D"
        group = out_c // in_c if depthwise else last
        window = self._window(operator, number, (kernel_h, kernel_w), group)
        scaling = self._scaling(operator, number, out_c)
        kernel = self.declared.use("depthwise_conv_2d" if depthwise else "conv_2d")
        source, target = self._places(operator)
        return f"{kernel}(&{window}, &{scaling}, {source}, {target});"

    def _fully_connected(self, operator: Operator, number: int) -> str:
        outputs, taken = self.graph.shape(operator.inputs[1] or 0)
        rows = self.graph.tensors[operator.outputs[0]].values // outputs
        scaling = self._scaling(operator, number, outputs)
        source, target = self._places(operator)
        kernel = self.declared.use("fully_connected")
        return f"{kernel}(&{scaling}, {source}, {target}, {rows}, {taken}, {outputs});"

    def _pool(self, operator: Operator, number: int) -> str:
        kernel = (operator.options["filterHeight"], operator.options["filterWidth"])
        window = self._window(operator, number, kernel, 1)
        name = self.declared.use("max_pool" if operator.kind == "MAX_POOL_2D" else "average_pool")
        source, target = self._places(operator)
        low, high = self._limits(operator)
        return f"{name}(&{window}, {source}, {target}, {low}, {high});"

    def _mean(self, operator: Operator, number: int) -> str:
        taken, given = operator.inputs[0] or 0, operator.outputs[0]
        shape = self.graph.shape(taken)
        axes = self.graph.tensors[operator.inputs[1] or 0].data
        assert axes is not None
        found = sorted(int(axis) % len(shape) for axis in axes.reshape(-1))
        *outer, c = shape
        if found != list(range(1, len(shape) - 1)) or outer[0] != 1:
            raise Unwritable(f"{operator.kind} over axes {found} of {len(shape)}")
        places = math.prod(outer)
        kernel, (source, target) = self.declared.use("mean"), self._places(operator)
        given_places = f"{kernel}({source}, {target}, {places}, {c}"
        if not self.is_int8:
            return f"{given_places});"
        a, out = self.graph.tensors[taken], self.graph.tensors[given]
        multiplier, shift = divided(*multiplier_of(a.scale / out.scale), places)
        return f"{given_places}, {a.zero}, {out.zero}, {multiplier}, {shift});"

    def _binary(self, operator: Operator, number: int) -> str:
        first, second = (index for index in operator.inputs if index is not None)
        given = operator.outputs[0]
        a, b, out = (self.graph.tensors[index] for index in (first, second, given))
        repeats = [_repeat(of.shape, out.shape) for of in (a, b)]
        low, high = self._limits(operator)
        minus = int(operator.kind == "SUB")
        fields = [str(out.values), *(f"{{{every}, {count}}}" for every, count in repeats)]
        if self.is_int8:
            if operator.kind == "MUL":
                factors = [(0, 0), (0, 0), multiplier_of(a.scale * b.scale / out.scale)]
            else:
                twice = 2 * max(a.scale, b.scale)
                of = (a.scale / twice, b.scale / twice, twice / (2**20 * out.scale))
                factors = [multiplier_of(factor) for factor in of]
            multipliers, shifts = zip(*factors, strict=True)
            fields += map(str, (*multipliers, *shifts, a.zero, b.zero, out.zero))
        fields += [low, high, str(minus)]
        how = self.declared.struct("binary_t", f"binary_{number}", ", ".join(fields))
        kernel = self.declared.use("multiply" if operator.kind == "MUL" else "add")
        places = [self._at(first, f"first_{number}"), self._at(second, f"second_{number}")]
        return f"{kernel}(&{how}, {places[0]}, {places[1]}, AT({self.offset(given)}));"

    def _pad(self, operator: Operator, number: int) -> str:
        (_, in_h, in_w, c), (_, out_h, out_w, out_c) = self._four(operator)
        pads = self.graph.tensors[operator.inputs[1] or 0].data
        assert pads is not None
        if out_c != c or pads[0].any():
            raise Unwritable(f"{operator.kind} of other axes than height and width")
        fill: float = self.graph.tensors[operator.outputs[0]].zero if self.is_int8 else 0.0
        if len(operator.inputs) > 2:
            value = self.graph.tensors[operator.inputs[2] or 0].data
            assert value is not None
            fill = value.reshape(-1)[0].item()
        source, target = self._places(operator)
        sizes = ", ".join(map(str, (in_h, in_w, c, pads[1][0], pads[2][0], out_h, out_w)))
        return (
            f"{self.declared.use('copy_padded')}({source}, {target}, {sizes}, {number_text(fill)});"
        )

    def _transpose(self, operator: Operator, number: int) -> str:
        shape = self.graph.shape(operator.inputs[0] or 0)
        order = self.graph.tensors[operator.inputs[1] or 0].data
        assert order is not None
        if len(shape) > 5:
            raise Unwritable("TRANSPOSE of more than five axes")
        steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
        unused = 5 - len(shape)
        sizes = [1] * unused + [shape[axis] for axis in order]
        moves = [0] * unused + [steps[axis] for axis in order]
        for name, values in (("size", sizes), ("step", moves)):
            listed = ", ".join(map(str, values))
            self.declared.struct("int", f"{name}_{number}[5]", listed)
        source, target = self._places(operator)
        return (
            f"{self.declared.use('transpose')}({source}, {target}, size_{number}, step_{number});"
        )

    def _concatenation(self, operator: Operator, number: int) -> str:
        given = operator.outputs[0]
        shape = self.graph.shape(given)
        axis = operator.options["axis"] % len(shape)
        row = math.prod(shape[axis:])
        rows, at, calls = math.prod(shape[:axis]), 0, []
        if operator.options.get("fusedActivationFunction", 0):
            raise Unwritable("CONCATENATION with an activation")
        for position, index in enumerate(operator.inputs):
            size = math.prod(self.graph.shape(index or 0)[axis:])
            source = self._at(index, f"part_{number}_{position}")
            calls.append(
                f"{self.declared.use('join')}({source}, AT({self.offset(given)}), "
                f"{rows}, {size}, {row}, {at});"
            )
            at += size
        return "\n  ".join(calls)

    def _each(self, operator: Operator, number: int) -> str:
        (source, target), given = self._places(operator), operator.outputs[0]
        alpha = float(operator.options.get("alpha", 0))
        n = self.graph.tensors[given].values
        if not self.is_int8:
            if operator.kind not in FLOATS:
                raise Unwritable(operator.kind)
            name, settings = FLOATS[operator.kind]
            self.declared.use("each")
            values = settings.format(alpha=number_text(alpha)) or "0"
            self.declared.struct("float", f"settings_{number}[]", values)
            return f"each({source}, {target}, {n}, {self.declared.use(name)}, settings_{number});"
        if operator.kind not in TABLES:
            raise Unwritable(operator.kind)
        a, out = self.graph.tensors[operator.inputs[0] or 0], self.graph.tensors[given]
        reals = [(value - a.zero) * a.scale for value in range(-128, 128)]
        made = [round(TABLES[operator.kind](real) / out.scale) + out.zero for real in reals]
        table = self.declared.array(f"table_{number}", "int8_t", np.clip(made, -128, 127))
        return f"{self.declared.use('table')}({source}, {target}, {n}, {table});"


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
