"""What a program in C declares: its constants, and the kernels that it calls."""

from __future__ import annotations

import math
import textwrap
from typing import Any

import numpy as np


class Declarations:
    """Gathers what the steps of a program need.

    Attributes:
        constants: Declarations in C, in the order of their use.
        kernels: Names of the functions that are called.
        flash: Bytes of weights, biases, multipliers, shifts and tables.
    """

    def __init__(self) -> None:
        self.constants: list[str] = []
        self.kernels: list[str] = []
        self.flash = 0
        self._weights: dict[bytes, str] = {}

    def use(self, kernel: str) -> str:
        """Note that a function is called; returns its name."""
        if kernel not in self.kernels:
            self.kernels.append(kernel)
        return kernel

    def array(self, name: str, kind: str, values: Any) -> str:
        """A constant array that counts as flash; returns its name."""
        flat = np.asarray(values).reshape(-1)
        self.flash += flat.size * {"int8_t": 1}.get(kind, 4)
        text = ", ".join(map(number_text, flat.tolist()))
        lines = "\n".join(textwrap.wrap(text, 98, initial_indent="  ", subsequent_indent="  "))
        self.constants.append(f"static const {kind} {name}[{flat.size}] = {{\n{lines}\n}};")
        return name

    def weights(self, name: str, kind: str, values: np.ndarray) -> str:
        """As an array; those of a layer that is used twice are declared once."""
        key = values.tobytes()
        if key not in self._weights:
            self._weights[key] = self.array(name, kind, values)
        return self._weights[key]

    def struct(self, kind: str, name: str, fields: str) -> str:
        """A constant that says how a kernel is to work; returns its name."""
        self.constants.append(f"static const {kind} {name} = {{{fields}}};")
        return name


def number_text(value: float) -> str:
    """A number in C."""
    if isinstance(value, int):
        return str(value)
    if math.isinf(value):
        return "INFINITY" if value > 0 else "-INFINITY"
    text = f"{value:.9g}"
    return f"{text}f" if "." in text or "e" in text else f"{text}.0f"


def multiplier_of(factor: float) -> tuple[int, int]:
    """A factor as ``multiplier * 2**(shift - 31)``, the multiplier in 31 bits.

    Source: Jacob et al. 2018, equation 6.
    """
    if factor == 0:
        return 0, 0
    share, shift = math.frexp(factor)
    multiplier = math.floor(share * 2**31 + 0.5)
    if multiplier == 2**31:
        multiplier, shift = multiplier // 2, shift + 1
    return (0, 0) if shift < -31 else (multiplier, shift)


def divided(multiplier: int, shift: int, count: int) -> tuple[int, int]:
    """A factor divided by a count, rounded down as TensorFlow Lite Micro's mean does."""
    more = min(count.bit_length() - 1, 32, 31 + shift)
    return (multiplier << more) // count, shift - more
