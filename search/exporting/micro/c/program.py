"""Writes a network as C99 that needs nothing else: no runtime, no allocation, one block of memory.

What it computes is what the operators of a TensorFlow Lite file do, in int8 with the same rounding:
(Jacob et al. 2018, "Quantization and training of neural networks for efficient integer-arithmetic-
only inference", section 2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from search.common.text import one_line
from search.exporting.micro.c.declarations import number_text
from search.exporting.micro.c.steps import step
from search.exporting.micro.c.writing import Writing

if TYPE_CHECKING:
    from search.exporting.micro.graph import Graph
    from search.exporting.micro.parts import Parts

SOURCES = Path(__file__).parent
ALWAYS = {"int8": ("requantized",), "float32": ("limited",)}
SCALING = {
    "int8": """typedef struct {
  const int8_t *weights;
  const int32_t *bias, *multipliers; /* of an output channel each */
  const int8_t *shifts;
  int16_t in_zero, out_zero, low, high;
} scaling_t;

typedef int32_t sum_t;
#define CENTRED(s, x) ((x) - (s)->in_zero)
#define FINISHED(s, sum, o)                                                                   \\
  limited(requantized(sum, (s)->multipliers[o], (s)->shifts[o]) + (s)->out_zero, (s)->low, \\
          (s)->high)
""",
    "float32": """typedef struct {
  const float *weights, *bias;
  float low, high;
} scaling_t;

typedef float sum_t;
#define CENTRED(s, x) (x)
#define FINISHED(s, sum, o) limited(sum, (s)->low, (s)->high)
""",
}
BINARY = {
    "int8": """typedef struct {
  int32_t n;
  repeat_t a, b;
  int32_t a_multiplier, b_multiplier, multiplier;
  int16_t a_shift, b_shift, shift, a_zero, b_zero, out_zero, low, high, minus;
} binary_t;
""",
    "float32": """typedef struct {
  int32_t n;
  repeat_t a, b;
  float low, high;
  int minus;
} binary_t;
""",
}


@dataclass(frozen=True, kw_only=True)
class Program:
    """A network in C."""

    source: str
    header: str
    ram: int  # bytes of the block of activations
    flash: int  # bytes of weights, biases, multipliers and tables


def write_program(graph: Graph, parts: Parts, *, name: str, title: str) -> Program:
    """Write a network.

    Args:
        graph: Its layers of weights, all in int8 or all in float32.
        parts: What comes before and after them.
        name: Of its functions and its header.
        title: What it is.

    Raises:
        Unwritable: If it needs an operator that is not written here.
    """
    writing = Writing(graph)
    steps = "\n".join(step(writing, number) for number in range(len(graph.operators)))
    taken, given = graph.tensors[graph.input], graph.tensors[graph.output]
    channels, height, width = parts.problem.input_shape
    std = np.array(parts.problem.std, dtype=np.float32)
    scales = 1 / (255 * std)
    offsets = np.array(parts.problem.mean, dtype=np.float32) / std
    is_int8 = writing.kind == "int8"
    used = [*ALWAYS[writing.kind], *writing.declared.kernels]
    about = "Weights and activations are " + ("int8." if is_int8 else "float32.")
    settings: dict[str, Any] = {
        "title": in_comment(title),
        "about": about,
        "name": name,
        "source": f"{name}.tflite",
        **{"height": height, "width": width, "channels": channels, "copies": parts.copies},
        "pixels": height * width * channels,
        "outputs": given.values,
        "value": "int8_t" if is_int8 else "float",
        "lowest": "INT8_MIN" if is_int8 else "-INFINITY",
        "aligner": "int32_t" if is_int8 else "float",
        "scaling": SCALING[writing.kind],
        "binary": BINARY[writing.kind] if {"add", "multiply"} & set(used) else "",
        "kernels": "\n\n".join(_kernels(writing.kind, used)),
        "constants": "\n".join(writing.declared.constants),
        "arena_bytes": writing.plan.bytes,
        "arena_values": writing.plan.bytes // taken.type().itemsize,
        "steps": steps,
        "input_at": writing.offset(graph.input),
        "output_at": writing.offset(graph.output),
        "deskewed": parts.deskewed,
        "scales": _listed(scales),
        "offsets": _listed(offsets),
        "pixel": f"pixel(pixels, {'&lean, ' * parts.deskewed}v, u, c)",
        "converted": "value",
        "real": "sums[k]",
        "sum": "int32_t" if is_int8 else "float",
    }
    if is_int8:
        settings |= {
            "converted": f"limited((int32_t)rintf(value / {number_text(taken.scale)}) "
            f"+ {taken.zero}, -128, 127)",
            "real": f"(float)(sums[k] - COPIES * {given.zero}) * {number_text(given.scale)}",
            "in_scale": f"{taken.scale:.9g}",
            "in_zero": taken.zero,
        }
    return Program(
        source=_rendered("program.c.jinja", settings),
        header=_rendered("program.h.jinja", settings),
        ram=writing.plan.bytes,
        flash=writing.declared.flash,
    )


def in_comment(text: str) -> str:
    """A text of unknown origin as it may stand in a comment."""
    return one_line(text).replace("*/", "* /").replace("/*", "/ *")


def example_program(parts: Parts) -> dict[str, str]:
    """A program that classifies the images of a file, and its Makefile, by their names."""
    channels, height, width = parts.problem.input_shape
    settings = {"height": height, "width": width, "channels": channels}
    settings |= {"pixels": height * width * channels, "outputs": parts.problem.classes}
    makefile = (SOURCES / "Makefile").read_text(encoding="utf-8")
    return {"main.c": _rendered("main.c.jinja", settings), "Makefile": makefile}


def array_of(content: bytes, *, name: str, about: Sequence[str]) -> str:
    """A file's bytes as a constant array in C, aligned as TensorFlow Lite Micro wants it."""
    rows = [
        ", ".join(f"0x{byte:02x}" for byte in content[at : at + 16])
        for at in range(0, len(content), 16)
    ]
    lines = "\n   ".join(map(in_comment, about))
    body = ",\n  ".join(rows)
    return (
        f"/* {lines} */\n\n#include <stdalign.h> /* C11, or C++ */\n\n"
        '#ifdef __cplusplus\nextern "C" {\n#endif\n\n'
        f"extern const unsigned int {name}_bytes;\nextern const unsigned char {name}[];\n\n"
        f"const unsigned int {name}_bytes = {len(content)};\n"
        f"alignas(16) const unsigned char {name}[] = {{\n  {body}\n}};\n\n"
        "#ifdef __cplusplus\n}\n#endif\n"
    )


def _rendered(template: str, settings: dict[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    made = Environment(
        loader=FileSystemLoader(SOURCES), undefined=StrictUndefined, keep_trailing_newline=True
    )
    return re.sub(r"\n{3,}", "\n\n", made.get_template(template).render(settings))


def _kernels(kind: str, used: Sequence[str]) -> Iterable[str]:
    """The functions of some names, in the order of their files."""
    text = "".join((SOURCES / file).read_text(encoding="utf-8") for file in (f"{kind}.c", "both.c"))
    parts = re.split(r"^/\* kernel: (\w+) \*/\n", text, flags=re.MULTILINE)[1:]
    for name, code in zip(parts[::2], parts[1::2], strict=True):
        if name in used:
            yield code.strip()


def _listed(values: Any) -> str:
    return ", ".join(number_text(float(value)) for value in np.asarray(values).reshape(-1))
