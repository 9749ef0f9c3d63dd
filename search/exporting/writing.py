"""Makes all files of an export, measures them, and puts them into place."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from search.common.errors import UserError
from search.common.output import say
from search.common.publishing import put
from search.common.values import text
from search.data.dataset import load_training
from search.exporting import card, checks, onnx_files, program, standalone
from search.exporting.folder import ALL, FIGURES, MICRO, check_folder, written_before
from search.exporting.micro import describing, making
from search.study.microcontrollers import record_measured

if TYPE_CHECKING:
    from torch import nn

    from search.candidates.candidate import AnyCandidate
    from search.data.dataset import Split
    from search.data.problem import Problem
    from search.exporting.card import Origin
    from search.exporting.micro.making import Micro
    from search.exporting.onnx_files import Pixels
    from search.finals.repeating import Recorded
    from search.study.settings import Settings

COMPARED = 64  # images on which the written network must compute what the trained one does
CALIBRATION_IMAGES = 1_000  # 100 to 3,000 gave 9,811 to 9,817 of 10,000 right, for one network


def write(
    network: nn.Module,
    candidate: AnyCandidate,
    settings: Settings,
    origin: Origin,
    trial: Recorded,
    output: Path,
    *,
    micro: bool,
    noted_in: str | None,
) -> int:
    """Make all files aside, measure them, put them into place and print the checks.

    Args:
        network: Trained.
        candidate: Its candidate.
        settings: That it was trained under.
        origin: For the card.
        trial: As the study records it.
        output: The directory.
        micro: Whether to write the files for a microcontroller too.
        noted_in: The storage that is told what was measured of these; None for none.

    Returns:
        The exit code.
    """
    training, validation = load_training(settings.source)
    calibration = training.images[: min(CALIBRATION_IMAGES, origin.train_images)]
    with tempfile.TemporaryDirectory(prefix="export-") as name:
        folder = Path(name)
        problem = settings.problem
        title = f"{candidate.name}: trial {trial.number} of {text(origin.study)}."
        trained = program.Ready(network, problem.mean, problem.std).eval()
        ready = _standalone(folder, network, trained, problem, calibration, title=title)
        if ready is None:
            ready = trained
            program.write_program(folder, trained, problem, title=title)
        with onnx_files.errors():
            onnx_files.write_onnx(ready, folder / onnx_files.FLOAT32, problem.input_shape)
            onnx_files.write_int8(
                folder / onnx_files.FLOAT32,
                folder / onnx_files.INT8,
                calibration,
            )
        (folder / "candidate.json").write_text(trial.candidate + "\n", encoding="utf-8")
        measured = checks.measure(
            folder,
            validation,
            recorded=trial.curve[max(trial.curve)],
            uneven=settings.source.uneven,
        )
        costs = settings.space.costs(candidate)
        made = (
            write_micro(folder, network, settings, validation, calibration, title=title)
            if micro
            else None
        )
        section = describing.section(made, settings.limits, costs) if made else ""
        sizes = card.measure_sizes(costs, folder)
        readme = card.model_card(origin, measured, sizes, section)
        (folder / "README.md").write_text(readme, encoding="utf-8")
        figures = card.figures_json(origin, measured, sizes, made)
        (folder / FIGURES).write_text(figures, encoding="utf-8")
        publish(folder, output)
    printed = card.printed(measured, sizes)
    printed += f"\n{describing.printed(made, settings.limits, costs)}" if made else ""
    for line in printed.splitlines():
        say(line)
    say(f"wrote {output}")
    if made and noted_in:
        note(made, noted_in, text(origin.study), trial.number)
    return 0 if measured.acceptable and (made is None or made.acceptable) else 1


def _standalone(
    folder: Path,
    network: nn.Module,
    trained: nn.Module,
    problem: Problem,
    images: Pixels,
    *,
    title: str,
) -> nn.Module | None:
    """The network as its file of source makes it; None where that computes anything else."""
    import torch

    if not standalone.is_writable(network):
        return None
    standalone.write_standalone(folder, network, problem, title=title)
    ready = standalone.load_standalone(folder)
    pixels = torch.from_numpy(images[:COMPARED].copy())
    given, wanted = (standalone.logits(one, pixels) for one in (ready, trained))
    return ready if torch.allclose(given, wanted, rtol=1e-3, atol=1e-3) else None


def write_micro(
    folder: Path,
    network: nn.Module,
    settings: Settings,
    validation: Split,
    calibration: Pixels,
    *,
    title: str,
) -> Micro:
    """Write the files for a microcontroller beside the others, and measure them."""
    reference = making.Reference(
        validation=validation,
        logits=checks.by_torch(folder, validation),
        uneven=settings.source.uneven,
    )
    return making.write_micro(
        folder / MICRO,
        network.eval(),
        settings.problem,
        reference,
        calibration=calibration,
        title=title,
    )


def note(made: Micro, storage: str, study: str, trial: int) -> None:
    """Have the study's reports show what was measured; says so where that cannot be."""
    figures = {
        "images": made.images,
        "float32_right": made.float32.right,
        "right": made.int8.right,
        "same": made.images - made.int8.other_classes,
        "activations": made.int8.arena.activations,
        "arena": made.int8.arena.total,
        "c_ram": made.int8.c_ram,
        "c_flash": made.int8.c_flash,
        "file_bytes": made.int8.file_bytes,
    }
    try:
        record_measured(storage, study, trial, figures)
    except UserError as error:
        say(f"reports of the study will not show this: {error}")


def publish(folder: Path, output: Path) -> None:
    """Copy finished files into a directory, all of them or none.

    Raises:
        UserError: If they cannot be written, or would replace files of others.
    """
    check_folder(output)
    before = written_before(output)
    files = [folder / name for name in ALL if (folder / name).exists()]
    try:
        put(output, {file.relative_to(folder).as_posix(): file.read_bytes() for file in files})
        for name in before:  # by an earlier export, of another kind of network
            if not (folder / name).exists():
                (output / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):
            (output / MICRO).rmdir()  # where nothing is left in it
    except OSError as error:
        problem = error.strerror or type(error).__name__
        raise UserError(
            f"the export cannot be written to {output}: {problem}", "Name a directory with --output"
        ) from None
