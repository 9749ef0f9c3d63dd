"""How soon what a search would choose has an accuracy with fresh seeds, on the validation images.

    python benchmarks/time_to_accuracy.py reports/reference/study.db other/study.db
    python benchmarks/time_to_accuracy.py --accuracy 99.6 --seeds 5 --keep FILE.jsonl study.db

At each moment of a search the first of its leaderboard is what a user would take. Every network
that ever was first is trained again with seeds that no search has; printed are since which minute
each led, what the search said of it, what fresh seeds say, and from which minute on the leader's
mean stays at the accuracy or above. Minutes are those of the search's own clock, breaks left out.
Two trainings at a time, a minute each: with ten leaders and five seeds 25 minutes a study. With
--keep every finished training is added to a file, and the same command at the same commit runs only
those that the file lacks.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):
    sys.path[0] = str(ROOT)

import optuna
from optuna.trial import FrozenTrial, TrialState

from benchmarks.search_quality import add_keep, check_keep, is_left_alone, run_all
from search.common.seeds import mix_seed
from search.console.arguments import percentage, positive, run_command, study_name
from search.data.sources import locate
from search.finals.repeating import recorded, repeat, settings_of_trial
from search.reporting.architectures import valid_architectures
from search.reporting.records import read_limits
from search.study.attributes import SETTINGS
from search.study.storages.naming import open_named
from search.training.epoch import Epoch

LONGEST_BREAK = 600.0  # seconds in which no trial ended: of a search that was stopped


@dataclass(frozen=True, kw_only=True)
class Lead:
    """What was first from some moment on."""

    minutes: float  # of the search until then
    trial: int
    says: float  # mean accuracy of its seeds by then


@dataclass(frozen=True, kw_only=True)
class Training:
    """One training with a seed that no search has."""

    study: str
    trial: int
    number: int
    begun: str  # when the trial began, as another study may later have this one's name


@dataclass(frozen=True, kw_only=True)
class Trained:
    """What a training gave."""

    accuracy: float  # on the validation images, in [0, 1]


def leads(study: optuna.Study) -> Iterator[Lead]:
    """What was first on the leaderboard, whenever that changed."""
    limits = read_limits(SETTINGS.of(study))
    ended = sorted(
        (trial for trial in study.get_trials(deepcopy=False) if trial.datetime_complete),
        key=_end,
    )
    starts = [trial.datetime_start for trial in ended if trial.datetime_start]
    minutes, before, first = 0.0, min(starts), -1
    for at, trial in enumerate(ended, start=1):
        passed = (_end(trial) - before).total_seconds()
        minutes, before = minutes + min(passed, LONGEST_BREAK) / 60, _end(trial)
        complete = [one for one in ended[:at] if one.state == TrialState.COMPLETE]
        best = next(iter(valid_architectures(complete, limits)), None)
        if best is not None and best.first.number != first:
            first = best.first.number
            yield Lead(minutes=minutes, trial=first, says=best.mean)


def _end(trial: FrozenTrial) -> datetime:
    assert trial.datetime_complete is not None
    return trial.datetime_complete


def train(training: Training) -> Trained:
    """Train a network with a fresh seed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = open_named(training.study).study
    trial = recorded(study, training.trial)
    settings = settings_of_trial(trial, study, locate(None))
    fresh = replace(trial, seed=mix_seed(0, "time to accuracy", training.number))
    return Trained(accuracy=repeat(fresh, settings, _wanted).epochs[-1].accuracy)


def _wanted(epoch: Epoch) -> None:
    if is_left_alone():
        raise SystemExit


def read(training: dict[str, Any], trained: dict[str, Any]) -> tuple[Training, Trained]:
    """A training and what it gave, of their fields in a file of --keep."""
    return Training(**training), Trained(accuracy=float(trained["accuracy"]))


def trainings(name: str, found: Sequence[Lead], seeds: int) -> Iterator[Training]:
    """Those of all networks that ever were first in a study."""
    begun = {trial.number: trial.datetime_start for trial in open_named(name).study.trials}
    for trial in dict.fromkeys(lead.trial for lead in found):
        for number in range(seeds):
            yield Training(study=name, trial=trial, number=number, begun=str(begun[trial]))


def reached(found: Sequence[Lead], fresh: dict[int, float], accuracy: float) -> float | None:
    """Minutes from which on the leader's mean stays at an accuracy; None if it does not."""
    since = None
    for lead in found:
        if fresh[lead.trial] < accuracy:
            since = None
        elif since is None:
            since = lead.minutes
    return since


def main() -> int:
    """Train all leaders and print the tables; 0, as it ends with no other code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("studies", nargs="+", type=study_name, metavar="STUDY.db")
    parser.add_argument("--accuracy", type=percentage, default="99.6", metavar="PERCENT")
    parser.add_argument("--seeds", type=positive, default=5, metavar="N")
    add_keep(parser)
    options = parser.parse_args()
    check_keep(options.keep)
    accuracy = float(options.accuracy) / 100
    by_study = {name: list(leads(open_named(name).study)) for name in options.studies}
    jobs = [
        training
        for name, found in by_study.items()
        for training in trainings(name, found, options.seeds)
    ]
    values: dict[tuple[str, int], list[float]] = {}
    for training, trained in run_all(train, jobs, options.keep, read).items():
        values.setdefault((training.study, training.trial), []).append(trained.accuracy)
    for name, found in by_study.items():
        fresh = {t: statistics.fmean(of) for (study, t), of in values.items() if study == name}
        print(f"\n{name}\nsince minute  trial  the search says  {options.seeds} fresh seeds")
        for lead in found:
            print(
                f"{lead.minutes:12.1f}{lead.trial:7}{100 * lead.says:15.2f} %"
                f"{100 * fresh[lead.trial]:13.3f} %"
            )
        since = reached(found, fresh, accuracy)
        when = "never" if since is None else f"from minute {since:.1f} on"
        print(f"{100 * accuracy:.2f} % with fresh seeds: {when}")
    return 0


if __name__ == "__main__":
    run_command(main)
