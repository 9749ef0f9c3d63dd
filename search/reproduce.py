"""Rebuilds a trial from what the study holds and compares every epoch.

    python search/reproduce.py 17
    python search/reproduce.py 17 --storage small.db

Prints PASS when the learning curve is the same to the last bit, else FAIL with the first epoch that
differs and the versions that do (exit code 1). Equal bits are to be expected on the same class of
device with the same versions.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # Ctrl-C while Python imports the rest: its end, without a traceback
    sys.excepthook = lambda kind, *of: (
        None if kind is KeyboardInterrupt else sys.__excepthook__(kind, *of)
    )

import argparse
import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):  # run as a script: Python put search/ on the path, not its parent
    sys.path[0] = str(ROOT)

from search.common.errors import UserError
from search.common.output import say
from search.common.text import counted
from search.console.arguments import (
    HelpFormatter,
    Parser,
    natural,
    path_name,
    run_command,
    storage_name,
)
from search.study import attributes
from search.study.storages.opening import DEFAULT_STORAGE

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

    from objective import Settings
    from search.data.dataset import DataSource
    from search.training.epoch import Epoch
    from search.training.loop import Fit
    from space import Candidate


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = Parser(prog="reproduce.py", description=__doc__, formatter_class=HelpFormatter)
    add = parser.add_argument
    add("trial", type=natural, metavar="TRIAL", help="number of the trial")
    add(
        "--storage",
        type=storage_name,
        default=DEFAULT_STORAGE,
        metavar="FILE|URL",
        help="SQLite file or database URL; default: study.db in the project's root",
    )
    add("--study", metavar="NAME", help="name within the storage; default: the only one")
    add("--data", type=path_name, metavar="DIR", help="directory of the data set; default: MNIST")
    return parser.parse_args(arguments)


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What a study holds of a trial that was trained."""

    number: int
    candidate: str  # JSON
    seed: int
    device: str
    curve: dict[int, float]  # validation accuracy by epoch
    versions: dict[str, str]
    commit: str
    trained_on: dict[str, Any]  # data and epochs; empty of older trials, whose study tells


def recorded(study: Study, number: int) -> Recorded:
    """Look up a trial.

    Raises:
        UserError: If there is no such trial, or it was not trained by this tool.
    """
    trials: list[FrozenTrial] = study.get_trials(deepcopy=False)
    if number >= len(trials):
        there = f"Its trials are 0 to {len(trials) - 1}" if trials else "It has none yet"
        raise UserError(f"the study has no trial {number}", there)
    trial = trials[number]
    seed, candidate = attributes.SEED.of(trial), attributes.CANDIDATE.of(trial)
    if not trial.intermediate_values or seed is None or candidate is None:
        reason = attributes.REASON.of(trial) or trial.state.name.lower()
        raise UserError(
            f"trial {number} was not trained ({reason})", "Name one that finished an epoch"
        )
    return Recorded(
        number=number,
        candidate=candidate,
        seed=seed,
        device=attributes.DEVICE.of(trial),
        curve=dict(sorted(trial.intermediate_values.items())),
        versions=attributes.VERSIONS.of(trial),
        commit=attributes.COMMIT.of(trial),
        trained_on=attributes.TRAINED_ON.of(trial),
    )


class _Done(Exception):
    """All recorded epochs have been repeated."""


def settings_of(trial: Recorded, study: Study, source: DataSource) -> Settings:
    """What the trial was trained under, on the device that it names.

    Raises:
        UserError: If the data set is another one, or the study does not say for how long.
    """
    from objective import Limits, Settings
    from search.data.problem import recorded_problem
    from search.training.arithmetic import Arithmetic

    settings = attributes.SETTINGS.of(study)
    dataset = attributes.mapping(settings.get("dataset"))
    under = trial.trained_on or {**dataset, "epochs": settings.get("epochs")}
    if under.get("fingerprint") != source.fingerprint:
        name = dataset.get("name") if under.get("fingerprint") == dataset.get("fingerprint") else ""
        raise UserError(
            f"trial {trial.number} was trained on {name or 'other data'}, not on {source.name}",
            "Give its directory with --data",
        )
    epochs = attributes.positive(under.get("epochs"))
    if epochs is None:
        raise UserError(
            f"trial {trial.number} does not say how long it trained", "Take another one"
        )
    return Settings(
        source=source,
        limits=Limits(
            max_params=attributes.positive(settings.get("max_params")) or Limits.max_params,
            max_macs=attributes.positive(settings.get("max_macs")),
        ),
        epochs=epochs,
        target=recorded_problem(settings).target,
        train_images=attributes.positive(under.get("train_images")),
        device=trial.device.split(" ")[0],
        arithmetic=Arithmetic.parse(trial.device),
    )


def read_candidate(trial: Recorded) -> Candidate:
    """The trial's candidate.

    Raises:
        UserError: If it cannot be read.
    """
    import space

    try:
        return space.Candidate.from_json(trial.candidate)
    except ValueError as error:
        raise UserError(
            f"trial {trial.number}'s candidate cannot be read: {error}", "Take another trial"
        ) from None


def say_adjusted(candidate: Candidate, settings: Settings) -> None:
    """Print what is trained otherwise than the candidate's recipe asks, if anything is."""
    images = settings.train_images or candidate.recipe.batch_size
    for sentence in candidate.recipe.adjusted(epochs=settings.epochs, images=images):
        say(f"trained otherwise than its recipe asks: {sentence}")


def repeat(trial: Recorded, settings: Settings, on_epoch: Callable[[Epoch], None]) -> Fit:
    """Train the trial's candidate again, from the same seed.

    Args:
        trial: What to train.
        settings: From ``settings_of``.
        on_epoch: Called after every epoch; what it raises ends the training.

    Raises:
        UserError: If the candidate cannot be read.
    """
    import torch

    import space
    from search.data.images import load_images
    from search.training.allocator import keep_freed_memory
    from search.training.loop import fit

    torch.set_num_threads(1)
    keep_freed_memory()
    candidate = read_candidate(trial)
    train, validation = load_images(
        settings.source, settings.device, train_images=settings.train_images
    )
    return fit(
        lambda: space.build(candidate),
        candidate.recipe,
        train,
        validation,
        epochs=candidate.recipe.epochs_within(settings.epochs),
        seed=trial.seed,
        arithmetic=settings.arithmetic,
        on_epoch=on_epoch,
    )


def repeated_curve(trial: Recorded, settings: Settings) -> dict[int, float]:
    """Validation accuracy by epoch of the trial trained again, as far as it was recorded."""
    curve: dict[int, float] = {}

    def on_epoch(epoch: Epoch) -> None:
        curve[epoch.number] = epoch.accuracy
        say(f"epoch {epoch.number}: {epoch.accuracy:.4f}")
        if epoch.number == max(trial.curve):
            raise _Done

    with contextlib.suppress(_Done):
        repeat(trial, settings, on_epoch)
    return curve


def main(arguments: list[str] | None = None) -> int:
    """Repeat a trial; returns the exit code."""
    options = parse(arguments)

    from search.data.sources import locate
    from search.study.recording import versions
    from search.study.settings import commit
    from search.study.storages.opening import open_study
    from search.training.hardware import resolve_device

    study = open_study(options.storage, options.study, read_only=True)
    trial = recorded(study, options.trial)
    settings = settings_of(trial, study, locate(options.data))
    resolve_device(settings.device)
    say_adjusted(read_candidate(trial), settings)
    curve = repeated_curve(trial, settings)
    differing = [epoch for epoch, value in trial.curve.items() if curve.get(epoch) != value]
    if not differing:
        say(f"PASS: trial {trial.number}, {counted(len(curve), 'epoch')}, {curve[max(curve)]:.4f}")
        return 0
    first = differing[0]
    say(
        f"FAIL: trial {trial.number}, epoch {first}: "
        f"recorded {trial.curve[first]:.4f}, repeated "
        + (f"{curve[first]:.4f}" if first in curve else "nothing")
    )
    now = {**versions(), "commit": commit(ROOT)}
    then = {**trial.versions, "commit": trial.commit}
    for name in sorted(now):
        if then.get(name) != now[name]:
            say(f"  {name}: {then.get(name, 'unknown')} then, {now[name]} now")
    return 1


if __name__ == "__main__":
    run_command(main)
