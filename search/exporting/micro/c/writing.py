"""What the writers of operators share: the graph, where its activations lie, what is declared."""

from __future__ import annotations

import math

import numpy as np

from search.exporting.micro.c.declarations import Declarations, number_text
from search.exporting.micro.graph import Graph, Operator
from search.exporting.micro.planning import Plan, plan

# What a fused activation function lets through, by its number in TensorFlow Lite's schema
# (ActivationFunctionType): none, RELU, RELU_N1_TO_1, RELU6.
BOUNDS = {0: (-math.inf, math.inf), 1: (0.0, math.inf), 2: (-1.0, 1.0), 3: (0.0, 6.0)}


class Unwritable(ValueError):
    """The program would need an operator that is not written here; the message names it."""


class Writing:
    """A graph while it is written.

    Args:
        graph: All in int8 or all in float32.

    Raises:
        Unwritable: If it is neither.

    Attributes:
        kind: int8 or float32.
        type: The same in C.
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

    def at(self, index: int | None, name: str) -> str:
        """An activation's place, or a constant's name."""
        assert index is not None
        tensor = self.graph.tensors[index]
        if tensor.data is not None:
            return self.declared.array(name, self.type, tensor.data)
        return f"AT({self.offset(index)})"

    def places(self, operator: Operator) -> tuple[str, str]:
        """Those of an operator's first input and its output."""
        return self.at(operator.inputs[0], "constant"), self.at(operator.outputs[0], "")

    def limits(self, operator: Operator) -> tuple[str, str]:
        """The least and the most that an activation function lets through."""
        kind = operator.options.get("fusedActivationFunction", 0)
        if kind not in BOUNDS:
            raise Unwritable(f"{operator.kind} with an activation of kind {kind}")
        low, high = BOUNDS[kind]
        if not self.is_int8:
            return number_text(low), number_text(high)
        out = self.graph.tensors[operator.outputs[0]]
        least = -128 if low == -math.inf else max(-128, out.zero + round(low / out.scale))
        most = 127 if high == math.inf else min(127, out.zero + round(high / out.scale))
        return str(least), str(most)

    def four(self, operator: Operator) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Shapes of an operator's first input and its output, each of four axes."""
        shapes = self.graph.shape(operator.inputs[0] or 0), self.graph.shape(operator.outputs[0])
        if any(len(shape) != 4 for shape in shapes):
            raise Unwritable(f"{operator.kind} of other than four axes")
        return shapes
