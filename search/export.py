"""Writes a network of a study into a folder that lives without this project.

    python search/export.py                         the first of the leaderboard
    python search/export.py --rank 2 --output second
    python search/export.py --trial 17 --storage small.db

The folder holds weights, a model.py that needs torch alone, ONNX in float32 and int8, and a card
with every figure; each form is loaded from its file and measured on the validation images.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # Ctrl-C while Python imports the rest: its end, without a traceback
    sys.excepthook = lambda kind, *of: (
        None if kind is KeyboardInterrupt else sys.__excepthook__(kind, *of)
    )

import argparse
import dataclasses
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):  # run as a script: Python put search/ on the path, not its parent
    sys.path[0] = str(ROOT)

from search.common.command_lines import shell_line
from search.common.output import say
from search.console.arguments import (
    HelpFormatter,
    Parser,
    add_data,
    add_space,
    add_storage,
    check_directory,
    natural,
    path_name,
    positive,
    run_command,
    some_name,
)
from search.study.storages.opening import DEFAULT_STORAGE

if TYPE_CHECKING:
    import optuna

    from search.candidates.candidate import AnyCandidate
    from search.exporting.card import Origin
    from search.finals.repeating import Recorded
    from search.study.settings import Settings


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = Parser(prog="export.py", description=__doc__, formatter_class=HelpFormatter)
    which = parser.add_mutually_exclusive_group()
    which.add_argument("--trial", type=natural, metavar="N", help="number of a complete trial")
    which.add_argument(
        "--rank", type=positive, default=1, metavar="K", help="place on the leaderboard"
    )
    add = parser.add_argument
    add_storage(parser)
    add(
        "--study",
        type=some_name,
        metavar="NAME",
        help="name within the storage; default: the search's",
    )
    add(
        "--output",
        type=path_name,
        metavar="DIR",
        help="a new directory, or that of an earlier export, whose files are replaced and others "
        "kept; default: exports/STUDY-N in the project's root, with the storage's name before it "
        "where that is another",
    )
    add(
        "--micro",
        action="store_true",
        help="also files for a microcontroller: TensorFlow Lite in float32 and int8, C that needs "
        "no library, all measured; needs requirements-micro.txt",
    )
    add_space(parser, of_study=True)
    add_data(parser)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Export a network; returns the exit code: 1 if the folder does not do what is recorded."""
    options = parse(arguments)

    # Imported here and in the functions below: --help and what is wrong with the arguments
    # are answered at once, without torch and Optuna.
    import optuna
    import torch

    from search.data.sources import locate
    from search.exporting.choice import at_rank, directory_name, refuse_incomplete
    from search.exporting.folder import check_folder
    from search.exporting.network import kept_network, trained_network
    from search.exporting.writing import write
    from search.finals.repeating import (
        read_candidate,
        recorded,
        say_adjusted,
        settings_of_trial,
    )
    from search.study.storages.opening import open_study

    if options.micro:
        from search.exporting.micro.converting import require_packages

        require_packages()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    torch.set_num_threads(1)  # as in the worker that recorded the accuracy
    if options.output is not None:
        check_directory(options.output, "--output")
        check_folder(options.output)
    study = open_study(options.storage, options.study, read_only=True)
    searched, number = study.study_name, options.trial
    if number is None:
        study, number = at_rank(study, options.rank, options.storage)
    trial = recorded(study, number)
    refuse_incomplete(study, number)
    output = options.output or ROOT / "exports" / directory_name(
        options.storage, study.study_name, number
    )
    check_directory(output, "--output")
    check_folder(output)
    located = locate(options.data, image_size=options.image_size)
    settings = settings_of_trial(trial, study, located, options.space)
    candidate = read_candidate(trial, settings)
    say(f"trial {number} of {study.study_name}: {candidate.name}")
    say_adjusted(candidate, settings)
    network = kept_network(study, trial, candidate, options.storage)
    retrained = network is None
    if network is None:
        say("its weights were not kept: training it again from its seed")
        network = trained_network(trial, settings)
    where = options_of(options, study.study_name)
    origin = origin_of(study, trial, candidate, settings, where=where, retrained=retrained)
    noted_in = options.storage if study.study_name == searched else None  # no report shows others
    more = {"micro": options.micro, "noted_in": noted_in}
    return write(network, candidate, settings, origin, trial, output, **more)


def options_of(options: argparse.Namespace, study: str) -> list[str]:
    """The options that lead to the study and its data, from the project's root."""
    from search.data.names import set_or_path
    from search.study.storages.location import sqlite_file, without_password

    where = []
    if options.storage != DEFAULT_STORAGE:
        is_file = "://" not in options.storage and sqlite_file(options.storage) is not None
        storage = from_root(Path(options.storage)) if is_file else without_password(options.storage)
        where += ["--storage", storage]
    where += ["--study", study]
    if options.data:
        named = set_or_path(options.data)
        where += ["--data", named if isinstance(named, str) else from_root(named)]
    return where + (["--image-size", str(options.image_size)] if options.image_size else [])


def from_root(path: Path) -> str:
    """A path as it is named from the project's root: in full where it lies elsewhere."""
    path = Path(os.path.abspath(path.expanduser()))
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def origin_of(
    study: optuna.Study,
    trial: Recorded,
    candidate: AnyCandidate,
    settings: Settings,
    *,
    where: Sequence[str],
    retrained: bool,
) -> Origin:
    """What the card says about where the network comes from.

    Args:
        study: Holds the trial.
        trial: Was trained.
        candidate: Its candidate.
        settings: That it was trained under.
        where: The options that name study and data on a command line.
        retrained: Whether its weights were made again.
    """
    from search.architecture.candidate import LayeredCandidate
    from search.exporting.card import Origin
    from search.reporting.candidates import layer_lines, value_text

    recipe = dataclasses.asdict(candidate.recipe)
    return Origin(
        study=study.study_name,
        trial=trial.number,
        architecture=candidate.name,
        layers=layer_lines(settings.space.costs(candidate).layers),
        recipe=[(name.replace("_", " "), value_text(value)) for name, value in recipe.items()],
        epochs=max(trial.curve),
        seed=trial.seed,
        device=trial.device,
        commit=trial.commit,
        versions=trial.versions,
        problem=settings.problem,
        train_images=settings.train_images or 0,
        max_params=settings.limits.max_params,
        space="" if isinstance(candidate, LayeredCandidate) else settings.space_file.name,
        retrained=retrained,
        reproduce=shell_line(["python", "search/reproduce.py", str(trial.number), *where]),
        export=shell_line(["python", "search/export.py", "--trial", str(trial.number), *where]),
    )


if __name__ == "__main__":
    run_command(main)
