"""What TensorFlow Lite Micro itself makes of a file on this machine: logits, and memory."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from search.common.errors import UserError
from search.exporting.micro.converting import captured

if TYPE_CHECKING:
    from search.exporting.micro.converting import Values

LARGEST_ARENA = 256 * 2**20  # bytes; what is measured does not depend on it
ARENA = re.compile(rb"Arena allocation (total|head|tail) (\d+) bytes")


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Bytes of RAM that the interpreter took, on a machine of 64 bits.

    The activations are the same on a microcontroller; the rest is mostly pointers, and less there.
    """

    total: int
    activations: int  # each tensor rounded up to 16 bytes
    rest: int


class MicroInterpreter:
    """A model in TensorFlow Lite Micro.

    Args:
        model: A TensorFlow Lite file.

    Raises:
        UserError: If it has no kernel for an operator.
    """

    def __init__(self, model: bytes) -> None:
        from tflite_micro.python.tflite_micro import runtime

        recording = runtime.InterpreterConfig.kAllocationRecording
        with captured() as printed:
            try:
                self._interpreter = runtime.Interpreter.from_bytes(
                    model, arena_size=LARGEST_ARENA, intrepreter_config=recording
                )
                self._interpreter.print_allocations()
            except RuntimeError:
                printed.seek(0)
                raise UserError(
                    f"TensorFlow Lite Micro cannot run the network: {_cause(printed.read())}",
                    "Use other layers, or export without --micro",
                ) from None
            printed.seek(0)
            found = {name: int(count) for name, count in ARENA.findall(printed.read())}
        self.arena = Arena(total=found[b"total"], activations=found[b"head"], rest=found[b"tail"])
        self._input = _Scaled(self._interpreter.get_input_details(0))
        self._output = _Scaled(self._interpreter.get_output_details(0))

    def run(self, values: Any) -> Any:
        """One answer, as the file has it: int8 of int8, float32 of float32.

        Args:
            values: ``[1, H, W, C]``.
        """
        self._interpreter.set_input(values, 0)
        self._interpreter.invoke()
        return self._interpreter.get_output(0)

    def quantized(self, images: Values) -> Any:
        """What ``run`` takes, of normalised images."""
        return self._input.quantized(images)

    def predict(self, images: Values) -> Values:
        """Logits ``[N, classes]`` of normalised images ``[N, H, W, C]``."""
        taken = self.quantized(images)
        found = [self.run(taken[at : at + 1]) for at in range(len(taken))]
        logits: Values = self._output.real(np.concatenate(found))
        return logits


class _Scaled:
    """Numbers of a tensor as its scale and zero point have them, where it is quantised."""

    def __init__(self, details: dict[str, Any]) -> None:
        self._type = details["dtype"]
        settings = details["quantization_parameters"]
        self._is_quantized = np.issubdtype(self._type, np.integer)
        if self._is_quantized:
            self._scale = np.float32(settings["scales"][0])
            self._zero = int(settings["zero_points"][0])

    def quantized(self, values: Values) -> Any:
        if not self._is_quantized:
            return np.ascontiguousarray(values, dtype=np.float32)
        limits = np.iinfo(self._type)
        found = np.rint(values / self._scale) + self._zero
        return np.ascontiguousarray(found.clip(limits.min, limits.max).astype(self._type))

    def real(self, values: Any) -> Values:
        if not self._is_quantized:
            return np.asarray(values, dtype=np.float32)
        found: Values = ((values.astype(np.int32) - self._zero) * self._scale).astype(np.float32)
        return found


def _cause(printed: bytes) -> str:
    """What the interpreter says of its failure."""
    lines = [line.strip() for line in printed.decode(errors="replace").splitlines()]
    missing = re.findall(r"builtin opcode '(\w+)'", "\n".join(lines))
    if missing:
        return f"it has no operator {missing[0]}"
    return next((line for line in lines if line), "it says no more")
