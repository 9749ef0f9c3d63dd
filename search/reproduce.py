"""Retrains a trial from what the study holds and compares every epoch.

    python search/reproduce.py 17
    python search/reproduce.py 17 --storage small.db

Prints PASS when the learning curve is the same to the last bit, else FAIL with the first epoch that
differs and the versions that do (exit code 1). Expect equal bits only on the same class of device
with the same versions.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # Ctrl-C while Python imports the rest: its end, without a traceback
    sys.excepthook = lambda kind, *of: (
        None if kind is KeyboardInterrupt else sys.__excepthook__(kind, *of)
    )

import argparse
import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):  # run as a script: Python put search/ on the path, not its parent
    sys.path[0] = str(ROOT)

from search.common.output import say
from search.common.text import counted
from search.console.arguments import (
    HelpFormatter,
    Parser,
    add_data,
    add_space,
    add_storage,
    natural,
    run_command,
    some_name,
)

if TYPE_CHECKING:
    from search.finals.repeating import Recorded
    from search.study.settings import Settings
    from search.training.epoch import Epoch


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = Parser(prog="reproduce.py", description=__doc__, formatter_class=HelpFormatter)
    add = parser.add_argument
    add("trial", type=natural, metavar="TRIAL", help="number of the trial")
    add_storage(parser)
    add(
        "--study",
        type=some_name,
        metavar="NAME",
        help="name within the storage; default: the only one",
    )
    add_space(parser, of_study=True)
    add_data(parser)
    return parser.parse_args(arguments)


class _Done(Exception):
    """All recorded epochs have been repeated."""


def repeated_curve(trial: Recorded, settings: Settings) -> dict[int, float]:
    """Validation accuracy by epoch of the trial trained again, as far as it was recorded."""
    from search.finals.repeating import repeat

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

    # Imported here and in the functions below: --help and what is wrong with the arguments
    # are answered at once, without torch and Optuna.
    from search.data.sources import locate
    from search.finals.repeating import (
        read_candidate,
        recorded,
        say_adjusted,
        settings_of_trial,
    )
    from search.study.recording import versions
    from search.study.settings import commit
    from search.study.storages.opening import open_study
    from search.training.hardware import resolve_device

    study = open_study(options.storage, options.study, read_only=True)
    trial = recorded(study, options.trial)
    located = locate(options.data, image_size=options.image_size)
    settings = settings_of_trial(trial, study, located, options.space)
    resolve_device(settings.device)
    say_adjusted(read_candidate(trial, settings), settings)
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
    now = {**versions(), "commit": commit()}
    then = {**trial.versions, "commit": trial.commit}
    for name in sorted(now):
        if then.get(name) != now[name]:
            say(f"  {name}: {then.get(name, 'unknown')} then, {now[name]} now")
    return 1


if __name__ == "__main__":
    run_command(main)
