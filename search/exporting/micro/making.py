"""Writes the files for a microcontroller, and measures them with TensorFlow Lite Micro itself."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from search.common.errors import UserError
from search.exporting.checks import TOLERATED
from search.exporting.micro import latency
from search.exporting.micro.c.program import Program, array_of, example_program, write_program
from search.exporting.micro.c.writing import Unwritable
from search.exporting.micro.converting import to_float32, to_int8
from search.exporting.micro.graph import read_graph
from search.exporting.micro.interpreter import Arena, MicroInterpreter, try_out
from search.exporting.micro.parts import Parts, take_apart
from search.exporting.micro.probing import refuse_layer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from search.data.dataset import Split
    from search.data.problem import Problem
    from search.exporting.micro.converting import Values
    from search.exporting.micro.graph import Graph
    from search.exporting.onnx_files import Logits, Pixels

EXAMPLES = 100  # validation images that lie beside the program
BATCH = 500  # images that are prepared at once


@dataclass(frozen=True, kw_only=True)
class Form:
    """The network in float32 or int8, as TensorFlow Lite Micro ran it on this machine."""

    right: int  # of the validation images
    balanced: float | None  # accuracy, where classes are uneven
    other_classes: int  # images that model.py classifies differently
    file_bytes: int
    arena: Arena
    operators: tuple[str, ...]
    c_ram: int | None  # bytes; None where there is no C
    c_flash: int | None
    no_c: str  # why there is none; or empty


@dataclass(frozen=True, kw_only=True)
class Micro:
    """What a network takes and does on a microcontroller."""

    images: int
    float32: Form
    int8: Form
    steps: tuple[latency.Step, ...]  # of one copy in int8
    copies: int  # of an image that are classified
    seconds: float  # that conversion and quantising took

    @property
    def acceptable(self) -> bool:
        """Whether the float32 file is the network, but for what other arithmetic explains."""
        return self.float32.other_classes <= max(1, TOLERATED * self.images)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of an image, all copies together."""
        return self.copies * sum(step.macs for step in self.steps)


@dataclass(frozen=True, kw_only=True)
class Reference:
    """What a network is measured against."""

    validation: Split
    logits: Logits  # of its images by torch, [N, classes]
    uneven: bool = False  # whether some classes have many more images than others


def write_micro(
    folder: Path,
    network: nn.Module,
    problem: Problem,
    reference: Reference,
    *,
    calibration: Pixels,
    title: str,
) -> Micro:
    """Write all files, and measure both forms of the network on the validation images.

    Args:
        folder: Is made.
        network: Trained.
        problem: What images it takes.
        reference: The validation images, and what torch makes of them.
        calibration: Training images ``[N, C, H, W]``, by which ranges are found.
        title: What the files in C are of.

    Raises:
        UserError: If the network cannot be converted, or TensorFlow Lite Micro cannot run it.
    """
    folder.mkdir()
    started = time.perf_counter()
    parts = take_apart(network, problem)
    example = parts.prepared(torch.zeros(1, *problem.input_shape, dtype=torch.uint8))[:1]
    models = _converted(parts, example, _taken(parts, calibration))
    seconds = time.perf_counter() - started
    forms = {}
    for kind, model in models.items():
        name = f"model_{kind}"
        (folder / f"{name}.tflite").write_bytes(model)
        interpreter = MicroInterpreter(model)
        logits = _predict(interpreter, parts, reference.validation.images)
        labels = "".join(f"{label}\n" for label in logits[:EXAMPLES].argmax(axis=1))
        (folder / f"labels_{kind}.txt").write_text(labels, encoding="utf-8")
        program, why = _program(read_graph(model), parts, name=name, title=title)
        if program:
            (folder / f"{name}.c").write_text(program.source, encoding="utf-8")
            (folder / f"{name}.h").write_text(program.header, encoding="utf-8")
        forms[kind] = _form(model, interpreter, logits, reference, program, why)
    if all(form.c_ram is not None for form in forms.values()):
        for name, text in example_program(parts).items():
            (folder / name).write_text(text, encoding="utf-8")
    images = reference.validation.images[:EXAMPLES].transpose(0, 2, 3, 1)
    (folder / "images.bin").write_bytes(np.ascontiguousarray(images).tobytes())
    (folder / "model_int8_data.c").write_text(
        _array(models["int8"], forms["int8"], title), encoding="utf-8"
    )
    return Micro(
        images=len(reference.validation),
        float32=forms["float32"],
        int8=forms["int8"],
        steps=latency.steps(read_graph(models["int8"])),
        copies=parts.copies,
        seconds=seconds,
    )


def _converted(parts: Parts, example: Tensor, images: Values) -> dict[str, bytes]:
    """Both files, each seen to be read and to run.

    Raises:
        UserError: If one cannot be made or run; it names the layer where one by itself tells.
    """
    try:
        float32 = to_float32(parts.core, (example,))
        try_out(float32)
    except UserError:
        refuse_layer(parts.core, example)
        raise
    int8 = to_int8(float32, images)
    try_out(int8)
    try:
        read_graph(int8)
    except ValueError as error:
        raise UserError(
            f"the network cannot be quantised to int8: {error}",
            "Use other layers, or export without --micro",
        ) from None
    return {"float32": float32, "int8": int8}


def _taken(parts: Parts, pixels: Pixels) -> Values:
    """What the layers take of some images, ``[copies * N, H, W, C]``."""
    prepared = parts.prepared(torch.from_numpy(pixels.copy()))
    return np.ascontiguousarray(prepared.permute(0, 2, 3, 1).numpy())


def _predict(interpreter: MicroInterpreter, parts: Parts, pixels: Pixels) -> Logits:
    """Logits ``[N, classes]``: of an image's copies the mean."""
    return np.concatenate(
        [
            interpreter.predict(_taken(parts, pixels[at : at + BATCH]), parts.copies)
            for at in range(0, len(pixels), BATCH)
        ]
    )


def _program(graph: Graph, parts: Parts, *, name: str, title: str) -> tuple[Program | None, str]:
    """The network in C, or why it is not written."""
    try:
        return write_program(graph, parts, name=name, title=title), ""
    except Unwritable as error:
        return None, f"{error} is not written in C here"


def _form(
    model: bytes,
    interpreter: MicroInterpreter,
    logits: Logits,
    reference: Reference,
    program: Program | None,
    why: str,
) -> Form:
    labels, answers = reference.validation.labels, logits.argmax(axis=1)
    hits = answers == labels
    by_class = [hits[labels == label].mean() for label in np.unique(labels)]
    return Form(
        right=int(hits.sum()),
        balanced=float(np.mean(by_class)) if reference.uneven else None,
        other_classes=int((answers != reference.logits.argmax(axis=1)).sum()),
        file_bytes=len(model),
        arena=interpreter.arena,
        operators=read_graph(model).kinds,
        c_ram=program.ram if program else None,
        c_flash=program.flash if program else None,
        no_c=why,
    )


def _array(model: bytes, form: Form, title: str) -> str:
    about = (
        f"model_int8.tflite for TensorFlow Lite Micro: {title}",
        f"Operators: {', '.join(form.operators)}.",
        f"Arena: {form.arena.total:,} bytes on a machine of 64 bits, less on one of 32.",
    )
    return array_of(model, name="model_int8_tflite", about=about)
