"""What a network takes and does on a microcontroller, as tables for the card and the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.common.text import counted
from search.exporting.micro import latency
from search.exporting.tables import aligned, markdown_table
from search.reporting.intervals import wilson
from search.reporting.pages import words

if TYPE_CHECKING:
    from search.architecture.limits import Limits
    from search.candidates.costs import Costs
    from search.exporting.micro.making import Form, Micro

Rows = list[tuple[str, ...]]
FORMS = ("form", "right", "accuracy", "95 % interval", "same class as model.py", "file")
MEMORY = ("", "limit", "by formula", "the C here", "TensorFlow Lite Micro")
STEPS = ("operator of one copy, int8", "output", "multiply-accumulates", "bytes moved")
TIMES = ("core", "the C here, float32", "the C here, int8", "TensorFlow Lite Micro, int8")


def forms_rows(micro: Micro) -> Rows:
    """Each form as TensorFlow Lite Micro ran it."""
    rows: Rows = []
    for name, form in _named(micro):
        share = form.right / micro.images
        rows.append(
            (
                f"model_{name}.tflite",
                f"{form.right:,}",
                words.accuracy(share, form.balanced),
                words.interval(wilson(share, micro.images)),
                f"{micro.images - form.other_classes:,}",
                f"{form.file_bytes:,} bytes",
            )
        )
    return rows


def memory_rows(micro: Micro, limits: Limits, costs: Costs) -> Rows:
    """RAM and flash, by formula and measured, beside their limits."""
    rows: Rows = []
    for name, form in _named(micro):
        is_int8 = name == "int8"
        ram = -(-costs.peak_activation_bytes // 4) if is_int8 else costs.peak_activation_bytes
        limit = limits.max_ram if is_int8 else None
        arena = form.arena
        rows.append(
            (
                f"RAM, {name}",
                _limit(limit),
                _bytes(ram),
                _judged(form.c_ram, limit),
                f"{_judged(arena.total, limit)}: activations {arena.activations:,}, the rest "
                f"{arena.rest:,}",
            )
        )
    limit = limits.max_flash
    file = _judged(micro.int8.file_bytes, limit)
    rows.append(
        (
            "flash, int8",
            _limit(limit),
            _bytes(costs.flash_bytes),
            _judged(micro.int8.c_flash, limit),
            f"{file} of the file",
        )
    )
    return rows


def time_rows(micro: Micro) -> Rows:
    """What an image may take; estimates."""
    return [
        (
            f"{core.name} at {core.megahertz} MHz",
            *(
                words.NOTHING if form.no_c else _span(latency.estimate(micro.macs, name, core))
                for name, form in _named(micro)
            ),
            _span(latency.estimate_optimised(micro.macs, core)),
        )
        for core in latency.CORES
    ]


def printed(micro: Micro, limits: Limits, costs: Costs) -> str:
    """The measurements as the command prints them."""
    forms = aligned([FORMS, *forms_rows(micro)])
    memory = aligned([MEMORY, *memory_rows(micro, limits, costs)])
    lines = ["on a microcontroller, run by TensorFlow Lite Micro on this machine:", *forms, *memory]
    lines += [f"operators: {', '.join(micro.int8.operators)}"]
    lines += [_without_c(name, form) for name, form in _named(micro) if form.no_c]
    if not micro.acceptable:
        apart = counted(micro.float32.other_classes, "image")
        lines.append(f"FAIL: model_float32.tflite gives {apart} another class than model.py")
    lines += [f"converted and quantised in {words.duration(micro.seconds)}"]
    return "\n".join(lines)


def section(micro: Micro, limits: Limits, costs: Costs) -> str:
    """A section of the card, in Markdown."""
    copies = (
        f" An image is classified {micro.copies} times, moved by a pixel, one copy after the other "
        "in the same memory."
        if micro.copies > 1
        else ""
    )
    has_c = micro.int8.c_ram is not None and micro.float32.c_ram is not None
    program = PROGRAM if has_c else ""
    missing = "".join(f"\n{_without_c(name, form)}.\n" for name, form in _named(micro) if form.no_c)
    steps = [
        (step.kind, " x ".join(map(str, step.shape)), f"{step.macs:,}", f"{step.bytes:,}")
        for step in micro.steps
    ]
    sources = "\n".join(f"- {core.name}: {core.source}." for core in latency.CORES)
    return f"""## On a microcontroller

The folder `micro` holds the network as TensorFlow Lite files, in float32 and with all numbers in
int8. TensorFlow Lite Micro itself ran both on this machine, on the same
{counted(micro.images, "validation image")}:

{markdown_table(FORMS, forms_rows(micro))}

Operators: {", ".join(micro.int8.operators)}.
`model_int8_data.c` is the int8 file as an array.{copies}

{markdown_table(MEMORY, memory_rows(micro, limits, costs))}

The formula takes the largest input plus output of any layer. TensorFlow Lite Micro rounds each
array up to 16 bytes, and its arena holds pointers and settings too: measured on a machine of 64
bits, where they take about twice as much as on one of 32. Its file describes the graph beside the
weights, and holds 24 bytes for each channel's scales. Code comes on top.
{program}{missing}
Time for an image, **estimated, not measured**, from
{counted(micro.macs, "multiply-accumulate")}; the true one may lie outside:

{markdown_table(TIMES, time_rows(micro))}

The C by instructions that were counted in an emulator, TensorFlow Lite Micro with Arm's kernels by
what others measured:

{sources}

{markdown_table(STEPS, steps)}

"""


PROGRAM = """
`model_int8.c` and `model_float32.c` are the network in C99 that needs no library: in int8 they give
what TensorFlow Lite Micro gives, number by number but for activation functions other than ReLU,
which may be a step apart. `make check` in the folder builds a program of each and classifies 100
validation images; `model_int8.h` says how to call it.
"""


def _named(micro: Micro) -> list[tuple[str, Form]]:
    return [("float32", micro.float32), ("int8", micro.int8)]


def _without_c(name: str, form: Form) -> str:
    return f"no C of model_{name}.tflite: {form.no_c}"


def _bytes(count: int | None) -> str:
    return words.NOTHING if count is None else f"{count:,}"


def _limit(limit: int | None) -> str:
    return "none" if limit is None else f"{limit:,}"


def _judged(count: int | None, limit: int | None) -> str:
    """A count, and whether it keeps its limit."""
    if count is None or limit is None:
        return _bytes(count)
    return f"{count:,} ({'kept' if count <= limit else 'over the limit'})"


def _span(milliseconds: tuple[float, float]) -> str:
    low, high = (round(value) if value >= 10 else round(value, 1) for value in milliseconds)
    return f"{low:,} to {high:,} ms"
