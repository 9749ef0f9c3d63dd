"""How long a network may take on two common microcontrollers: estimated, never measured.

The estimate for the C of this export stands on instructions that were counted, of a network of 3.0
million multiply-accumulates, compiled by gcc 12 and emulated (benchmarks/hardware/emulated.py,
docs/microcontrollers.md). How many cycles an instruction takes depends on the core, its caches and
the wait states of its flash.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from search.exporting.micro.graph import Graph

INSTRUCTIONS = {"int8": (6.3, 10.1), "float32": (4.8, 8.6)}  # of a multiply-accumulate: -O3, -O2


@dataclass(frozen=True, kw_only=True)
class Core:
    """A processor at a clock, and what its makers or others say of its speed."""

    name: str
    megahertz: int
    cycles: tuple[float, float]  # of an instruction of compiled C, from and to
    optimised: tuple[float, float]  # of a multiply-accumulate in int8 with Arm's CMSIS-NN
    source: str  # of the last


CORES = (
    Core(
        name="Cortex-M4",
        megahertz=80,
        cycles=(1.0, 2.0),
        optimised=(2.0, 5.4),
        source="a person detector of 7.2 million multiply-accumulates takes 387 ms at 100 MHz "
        "(Samsung/ONE issue 7598), which is 5.4; larger convolutions take less",
    ),
    Core(
        name="Cortex-M7",
        megahertz=216,
        cycles=(0.6, 1.2),
        optimised=(1.2, 2.6),
        source="a network of 12.3 million takes 99.1 ms at 216 MHz (Lai, Suda and Chandra 2018, "
        "CMSIS-NN, table 1), which is 1.7",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Step:
    """An operator's work for one image."""

    kind: str
    shape: tuple[int, ...]  # of what comes out
    macs: int  # multiply-accumulates
    bytes: int  # read and written: activations, weights and biases


def steps(graph: Graph) -> tuple[Step, ...]:
    """The work of each operator of a graph, in its order."""
    found = []
    for operator in graph.operators:
        out = graph.tensors[operator.outputs[0]]
        moved = sum(graph.tensors[index].bytes for index in operator.inputs if index is not None)
        macs = 0
        if operator.kind in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED"):
            weights = graph.shape(operator.inputs[1] or 0)
            taps = weights[1:3] if operator.kind == "DEPTHWISE_CONV_2D" else weights[1:]
            macs = out.values * math.prod(taps)
        elif operator.kind == "BATCH_MATMUL":
            inner = -2 if operator.options.get("adjX") else -1
            macs = out.values * graph.shape(operator.inputs[0] or 0)[inner]
        elif operator.kind == "TRANSPOSE_CONV":
            taken = graph.tensors[operator.inputs[2] or 0]
            macs = taken.values * math.prod(graph.shape(operator.inputs[1] or 0)[:3])
        found.append(
            Step(kind=operator.kind, shape=out.shape[1:], macs=macs, bytes=moved + out.bytes)
        )
    return tuple(found)


def estimate(macs: int, kind: str, core: Core) -> tuple[float, float]:
    """Milliseconds of an image by the C of this export, from and to.

    Args:
        macs: Multiply-accumulates of all its copies.
        kind: int8 or float32.
        core: That runs it.
    """
    low, high = INSTRUCTIONS[kind]
    of = macs / (core.megahertz * 1e3)
    return of * low * core.cycles[0], of * high * core.cycles[1]


def estimate_optimised(macs: int, core: Core) -> tuple[float, float]:
    """Milliseconds of an image in int8 by TensorFlow Lite Micro with CMSIS-NN, from and to."""
    of = macs / (core.megahertz * 1e3)
    return of * core.optimised[0], of * core.optimised[1]
