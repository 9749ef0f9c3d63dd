"""The card of an exported network: what it is, how good, how large, how made, what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from search.common.text import counted
from search.data.problem import numbered
from search.exporting import onnx_files, standalone
from search.exporting.checks import Measured
from search.exporting.folder import ALL
from search.exporting.tables import aligned, markdown_table
from search.reporting.intervals import wilson
from search.reporting.pages import words
from search.reporting.pages.markdown import escape

if TYPE_CHECKING:
    from search.candidates.costs import Costs
    from search.data.problem import Problem
    from search.exporting.micro.making import Micro


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the network takes at work; RAM as ``peak_activation_bytes`` defines it."""

    parameters: int
    macs: int  # multiply-accumulates of one image
    peak_activation_bytes: int  # in float32
    peak_activation_bytes_int8: int
    weight_bytes: int  # in float32, BatchNorm folded
    weight_bytes_int8: int  # biases are int32, scales float32
    files: Mapping[str, int]  # bytes by name


def measure_sizes(costs: Costs, folder: Path) -> Sizes:
    """What a network costs, and how large the files are that a folder holds of it."""
    return Sizes(
        parameters=costs.parameters,
        macs=costs.macs,
        peak_activation_bytes=costs.peak_activation_bytes,
        peak_activation_bytes_int8=costs.peak_activation_bytes // 4,
        weight_bytes=onnx_files.weight_bytes(folder / onnx_files.FLOAT32),
        weight_bytes_int8=onnx_files.weight_bytes(folder / onnx_files.INT8),
        files={
            file.relative_to(folder).as_posix(): file.stat().st_size
            for file in (folder / name for name in sorted(ALL))
            if file.exists()
        },
    )


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Where a network comes from."""

    study: str
    trial: int
    architecture: str
    layers: str  # table in Markdown
    recipe: Sequence[tuple[str, str]]
    epochs: int
    seed: int
    device: str
    commit: str
    versions: Mapping[str, str]
    problem: Problem
    train_images: int
    max_params: int
    space: str  # the file that it was drawn from, where the candidate's JSON needs it; or empty
    retrained: bool  # the weights were not kept and made again from the seed
    reproduce: str  # the command lines that make it again
    export: str


def figures_rows(measured: Measured) -> list[tuple[str, ...]]:
    """Each form: images it got right, accuracy, interval, images classified as model.py does."""
    forms = [
        ("recorded in the study", "float32", measured.recorded, None),
        (standalone.MODEL, "float32", measured.float32, 0),
        (onnx_files.FLOAT32, "float32", measured.onnx, measured.other_classes),
        (onnx_files.INT8, "int8", measured.int8, measured.other_classes_int8),
    ]
    balanced = (None, *(measured.balanced or (None, None, None)))
    rows: list[tuple[str, ...]] = []
    for (name, kind, right, other), beside in zip(forms, balanced, strict=True):
        share = right / measured.images
        interval = words.interval(wilson(share, measured.images))
        agreeing = words.NOTHING if other is None else f"{measured.images - other:,}"
        accuracy = words.accuracy(share, beside)
        rows.append((f"{name} ({kind})", f"{right:,}", accuracy, interval, agreeing))
    return rows


def printed(measured: Measured, sizes: Sizes) -> str:
    """The checks as the command prints them."""
    rows = [
        ("", f"right of {measured.images:,}", "accuracy", "95 % interval", "same as model.py"),
        *figures_rows(measured),
    ]
    lines = aligned(rows)
    return "\n".join(
        [
            *lines,
            verdict(measured),
            f"largest difference of a logit between torch and onnxruntime: "
            f"{measured.largest_difference:.1e} (logits reach {measured.largest_logit:.1f}); "
            f"{counted(measured.other_classes, 'image')} classified differently",
            f"weights: {sizes.weight_bytes:,} bytes in float32, "
            f"{sizes.weight_bytes_int8:,} in int8",
            f"peak activation RAM: {sizes.peak_activation_bytes:,} bytes in float32, "
            f"{sizes.peak_activation_bytes_int8:,} in int8",
            f"multiply-accumulates: {sizes.macs:,} an image",
        ]
    )


def verdict(measured: Measured) -> str:
    """Whether the loaded network is what the study recorded, in a sentence."""
    if measured.reproduced:
        return "PASS: the loaded network is right exactly as often as recorded"
    apart = abs(measured.recorded - measured.float32)
    text = f"{apart:,} of {counted(measured.images, 'image')} apart from what was recorded"
    if measured.acceptable:
        return f"PASS: {text}, as other hardware or versions explain"
    return f"FAIL: {text}"


def figures_json(
    origin: Origin, measured: Measured, sizes: Sizes, micro: Micro | None = None
) -> str:
    """All figures for a program."""
    data = {"origin": asdict(origin), "validation": asdict(measured), "sizes": asdict(sizes)}
    data |= {"micro": asdict(micro)} if micro else {}
    return json.dumps(data, indent=1, ensure_ascii=False) + "\n"


def model_card(origin: Origin, measured: Measured, sizes: Sizes, micro: str = "") -> str:
    """The card in Markdown; ``micro`` is the section on a microcontroller, if there is one."""
    accuracies = markdown_table(
        (
            *("form", f"right of {measured.images:,}", "validation accuracy", "95 % interval"),
            f"same class as {standalone.MODEL}",
        ),
        figures_rows(measured),
    )
    memory = markdown_table(
        ("", "float32", "int8"),
        [
            ("weights", _bytes(sizes.weight_bytes), _bytes(sizes.weight_bytes_int8)),
            (
                "peak activation RAM, one image",
                _bytes(sizes.peak_activation_bytes),
                _bytes(sizes.peak_activation_bytes_int8),
            ),
        ],
    )
    files = markdown_table(
        ("file", "bytes"), [(name, f"{size:,}") for name, size in sizes.files.items()]
    )
    recipe = markdown_table(("setting", "value"), origin.recipe)
    made_by = ", ".join(f"{name} {version}" for name, version in sorted(origin.versions.items()))
    versions, commit, device = map(escape, (made_by, origin.commit, origin.device))
    source = (
        "The study did not hold this trial's weights; they were trained again from its seed."
        if origin.retrained
        else "The weights are those that the trial ended with."
    )
    copies = (
        "\nThat is for one copy; these files compute the three as one batch, in three times that."
        if "tta" in origin.architecture.split()
        else ""
    )
    rotated = (
        f"\nFilters in several rotations are there once in `{standalone.WEIGHTS}`; both ONNX files"
        "\nhave every rotation written out, which the table above counts."
        if "rotations" in origin.layers
        else ""
    )
    problem = origin.problem
    usual = ", by 0.05 to 0.1 points as a rule" if problem.is_mnist else ""
    data, study = escape(problem.name), escape(origin.study)
    kind = "grey" if problem.channels == 1 else "colour"
    size = f"{problem.image_size.height}×{problem.image_size.width}"
    shape = f"[N, {', '.join(map(str, problem.input_shape))}]"
    named = problem.class_names != numbered(problem.classes)
    listed = ", ".join(map(escape, problem.class_names))
    names = f"\nThe labels from 0 on are: {listed}.\n" if named else ""
    drawn = f" --space {escape(origin.space)}" if origin.space else ""
    looks = f"{size} {kind} values"
    looks = f"{problem.looks}, {looks}" if problem.looks else looks
    return f"""# {origin.architecture}

A network of {counted(sizes.parameters, "parameter")} for the
{counted(problem.classes, "class")} of {data}, {kind} images of {size} pixels: trial
{origin.trial} of the study {study}, which allows at most {counted(origin.max_params, "parameter")}.

    from model import load          # needs torch and this folder, nothing else
    logits = load()(images)         # images {shape}, pixel values 0 to 255
    labels = logits.argmax(dim=1)   # [N], from 0 to {problem.classes - 1}
{names}
The ONNX files take the same input (`images`, float32) and give `logits`. `candidate.json` is the
architecture and its recipe, ready for `python search/run.py --candidate candidate.json`{drawn}.

## Accuracy

{accuracies}

All on the {counted(measured.images, "validation image")} of {data}, which took no part in training.
{words.OPTIMISM}
No figure here comes from the test images.

{verdict(measured)}. Between torch and onnxruntime the largest difference of a logit is
{measured.largest_difference:.1e} (logits reach {measured.largest_logit:.1f}), and
{measured.other_classes:,} of {measured.images:,} images are classified differently.

## Size

{sizes.macs:,} multiply-accumulates an image.

{memory}

BatchNorm that directly follows its convolution is folded into the weights of both ONNX files;
`{standalone.WEIGHTS}` keeps it apart.{rotated}
Peak activation RAM is the largest input plus output of any layer; layers run in turn.{copies}

{files}

## Layers

{origin.layers}

{micro}## Limits

- Made for images like those of {data}: {looks}. Others it answers too, and wrongly:
  it has no "none of these".
- One training with one seed. Another seed gives another accuracy{usual}.
- The int8 file was calibrated on training images; recalibrate it for another camera.

## How it was trained

On {counted(origin.train_images, "training image")} of {data}, {counted(origin.epochs, "epoch")}, on
{device}, seed {origin.seed}. {source}

{recipe}

## How to make it again

With the program at commit {commit} ({versions}) and the study:

    {origin.reproduce}   # every epoch, bit by bit
    {origin.export}
"""


def _bytes(count: int) -> str:
    return f"{count:,} bytes"
