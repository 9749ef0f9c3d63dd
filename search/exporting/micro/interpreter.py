"""What TensorFlow Lite Micro itself makes of a file on this machine: logits, and memory."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search.common.errors import UserError
from search.exporting.micro.converting import captured

if TYPE_CHECKING:
    from search.exporting.micro.converting import Values

LARGEST_ARENA = 256 * 2**20  # bytes; what is measured does not depend on it
TRYING = """
import sys
from tflite_micro.python.tflite_micro import runtime
runtime.Interpreter.from_file(sys.argv[1], arena_size=int(sys.argv[2])).invoke()
"""
ARENA = re.compile(rb"Arena allocation (total|head|tail) (\d+) bytes")


@dataclass(frozen=True, kw_only=True)
class Arena:
    """Bytes of RAM that the interpreter took, on a machine of 64 bits.

    The activations are the same on a microcontroller; the rest is mostly pointers, and less there.
    """

    total: int
    activations: int  # each tensor rounded up to 16 bytes
    rest: int


def try_out(model: bytes) -> None:
    """Load a model and run it once in a process of its own, which the interpreter may abort.

    Raises:
        UserError: If it cannot be run.
    """
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.tflite"
        file.write_bytes(model)
        command = [sys.executable, "-c", TRYING, str(file), str(LARGEST_ARENA)]
        done = subprocess.run(command, capture_output=True)
    if done.returncode:
        raise UserError(
            f"TensorFlow Lite Micro cannot run the network: {_cause(done.stdout + done.stderr)}",
            "Use other layers, or export without --micro",
        )


class MicroInterpreter:
    """A model in TensorFlow Lite Micro.

    Args:
        model: A TensorFlow Lite file that ``try_out`` has run.
    """

    def __init__(self, model: bytes) -> None:
        from tflite_micro.python.tflite_micro import runtime

        recording = runtime.InterpreterConfig.kAllocationRecording
        with captured() as printed:
            self._interpreter = runtime.Interpreter.from_bytes(
                model, arena_size=LARGEST_ARENA, intrepreter_config=recording
            )
            self._interpreter.print_allocations()
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

    def predict(self, images: Values, copies: int = 1) -> Values:
        """Logits ``[N, classes]`` of normalised images.

        Args:
            images: ``[copies * N, H, W, C]``: all images, then all of them in their next copy.
            copies: Whose mean an image's logits are.
        """
        taken = self.quantized(images)
        found = np.concatenate([self.run(taken[at : at + 1]) for at in range(len(taken))])
        exact = np.float32 if found.dtype == np.float32 else np.int32
        sums = found.reshape(copies, -1, found.shape[1]).sum(0, dtype=exact)
        return self._output.mean(sums, copies)


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

    def mean(self, sums: Any, count: int) -> Values:
        """What the mean of some values is, from their sum."""
        if self._is_quantized:
            sums = (sums - count * self._zero).astype(np.float32) * self._scale
        found: Values = sums / np.float32(count)
        return found


def _cause(printed: bytes) -> str:
    """What the interpreter says of its failure, above Python's traceback of it."""
    text = printed.decode(errors="replace").partition("Traceback (most")[0]
    lines = [line.strip() for line in text.splitlines()]
    missing = re.findall(r"builtin opcode '(\w+)'", "\n".join(lines))
    if missing:
        return f"it has no operator {missing[0]}"
    return next((line for line in lines if line), "it says no more")
