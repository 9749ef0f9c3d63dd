"""The tensors and operators of a TensorFlow Lite file, read by the schema that LiteRT carries."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
TYPES = {0: np.float32, 2: np.int32, 4: np.int64, 6: np.bool_, 9: np.int8}  # of the schema
SAME = 0  # padding, of the schema


@dataclass(frozen=True, kw_only=True, eq=False)
class Tensor:
    """An array of the graph; a constant where it has data."""

    shape: tuple[int, ...]
    type: type
    data: Array | None
    scales: Array  # float32; one, or one for each output channel; none in float32
    zero: int  # the number that stands for 0.0

    @property
    def values(self) -> int:
        """How many numbers it holds."""
        return int(np.prod(self.shape, dtype=np.int64))

    @property
    def bytes(self) -> int:
        """What it takes in memory."""
        return self.values * np.dtype(self.type).itemsize

    @property
    def scale(self) -> float:
        """The only one."""
        return float(self.scales[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Operator:
    """A step of the graph; inputs that are left out are None."""

    kind: str  # as the schema names it: CONV_2D
    inputs: tuple[int | None, ...]
    outputs: tuple[int, ...]
    options: dict[str, Any]


@dataclass(frozen=True, kw_only=True, eq=False)
class Graph:
    """A network: its operators in the order in which they are computed."""

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    input: int
    output: int

    def shape(self, index: int) -> tuple[int, ...]:
        """A tensor's."""
        return self.tensors[index].shape

    @property
    def kinds(self) -> tuple[str, ...]:
        """Kinds of operators, each once, in alphabetical order."""
        return tuple(sorted({operator.kind for operator in self.operators}))


def read_graph(model: bytes) -> Graph:
    """The graph of a file with one input and one output."""
    from ai_edge_litert import schema_py_generated as schema

    found = schema.ModelT.InitFromPackedBuf(model, 0)
    (part,) = found.subgraphs
    names = {
        code: name for name, code in vars(schema.BuiltinOperator).items() if isinstance(code, int)
    }
    kinds = [names[max(one.builtinCode, one.deprecatedBuiltinCode)] for one in found.operatorCodes]
    (taken,), (given,) = part.inputs, part.outputs
    return Graph(
        tensors=tuple(_tensor(one, found.buffers) for one in part.tensors),
        operators=tuple(
            Operator(
                kind=kinds[one.opcodeIndex],
                inputs=tuple(int(index) if index >= 0 else None for index in one.inputs),
                outputs=tuple(map(int, one.outputs)),
                options=vars(one.builtinOptions) if one.builtinOptions else {},
            )
            for one in part.operators
        ),
        input=int(taken),
        output=int(given),
    )


def _tensor(found: Any, buffers: Any) -> Tensor:
    kind = TYPES.get(found.type, np.void)
    shape = tuple(map(int, found.shape)) if found.shape is not None else ()
    raw = buffers[found.buffer].data
    settings = found.quantization
    has_scales = settings is not None and settings.scale is not None
    zeros = settings.zeroPoint if has_scales and settings.zeroPoint is not None else [0]
    return Tensor(
        shape=shape,
        type=kind,
        data=None if raw is None else np.frombuffer(bytes(raw), dtype=kind).reshape(shape),
        scales=np.array(settings.scale if has_scales else [], dtype=np.float32),
        zero=int(zeros[0]),
    )
