"""Tells trackers of each trial that ends, once, whoever trained it.

A tracker that fails ends no search: what it missed is told when the same command runs again.
"""

from __future__ import annotations

import datetime as dt
import importlib.util
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from optuna.trial import FrozenTrial

from search.common.errors import UserError, reason_of
from search.study import attributes
from search.study.storages.beside import MLFLOW, TENSORBOARD, folder_beside
from search.study.storages.naming import identity, short_name
from search.study.storages.opening import open_study

FIGURES = (  # of a trial that ended, beside its value
    attributes.PARAMETERS,
    attributes.MACS,
    attributes.PEAK_BYTES,
    attributes.SECONDS,
    attributes.VALIDATION_LOSS,
    attributes.BALANCED_ACCURACY,
    attributes.BEST_EPOCH,
    attributes.BEST_ACCURACY,
)
TEXTS = (attributes.ARCHITECTURE, attributes.REASON, attributes.LABEL, attributes.DEVICE)
ACCURACY = "validation_accuracy"


class Tracker(Protocol):
    """Where trials are told to."""

    where: str  # one looks at it: a command or a place
    told: set[int]  # numbers of the trials that it has, from earlier commands too

    def tell(self, trial: FrozenTrial) -> None:
        """Tell a trial that has ended."""
        ...


PACKAGES = {"mlflow": "mlflow", "tensorboard": "tensorboard"}  # that a tracker needs


def refuse_missing(names: Sequence[str]) -> None:
    """Refuse trackers whose package is not installed.

    Raises:
        UserError: If so.
    """
    for name in names:
        if importlib.util.find_spec(PACKAGES[name]) is None:
            raise UserError(
                f"--log-to {name} needs the package {PACKAGES[name]}, which is not installed",
                "Install it: pip install -r requirements-logging.txt",
            )


def open_tracker(name: str, storage: str, study: str) -> Tracker:
    """A tracker by its name in ``PACKAGES``.

    Args:
        name: Its.
        storage: A URL or the path of an SQLite file.
        study: The study's name.

    Raises:
        UserError: If it cannot be written to.
    """
    if name == "mlflow":
        from search.reporting.trackers.mlflow_runs import MLflowRuns

        shown = short_name(storage, study)
        known_as = identity(open_study(storage, study)).replace("'", "")
        return MLflowRuns(folder_beside(storage, MLFLOW), shown, known_as)
    from search.reporting.trackers.event_files import EventFiles

    return EventFiles(folder_beside(storage, TENSORBOARD), study)


class Tracking:
    """Tells trackers of trials as they end.

    Args:
        trackers: By name.
        complain: Is given a line where one of them fails, which is then told no more.
    """

    def __init__(self, trackers: dict[str, Tracker], complain: Callable[[str], None]) -> None:
        self._trackers, self._complain = trackers, complain

    @classmethod
    def of(
        cls, names: Sequence[str], storage: str, study: str, complain: Callable[[str], None]
    ) -> Tracking:
        """With trackers by their names, for a study."""
        return cls({name: open_tracker(name, storage, study) for name in names}, complain)

    @property
    def places(self) -> list[str]:
        """Where one looks at each, a line."""
        return [f"{name}: {tracker.where}" for name, tracker in self._trackers.items()]

    def look(self, trials: Sequence[FrozenTrial]) -> None:
        """Tell of the trials that have ended since, by whatever command.

        Two commands on one study may tell the same; a tracker keeps the first.
        """
        for name, tracker in list(self._trackers.items()):
            try:
                for trial in trials:
                    if trial.number not in tracker.told and trial.state.is_finished():
                        tracker.tell(trial)
                        tracker.told.add(trial.number)
            except Exception as error:  # of a server, a disk, or the tool itself
                del self._trackers[name]
                self._complain(
                    f"warning: {name} can no longer be written to: {reason_of(error)}. The search "
                    "goes on; the same command tells it later what it misses."
                )


def figures_of(trial: FrozenTrial) -> dict[str, float]:
    """What a trial ended with, as numbers by name."""
    figures = {one.name: one.of(trial) for one in FIGURES}
    found: dict[str, Any] = {name: value for name, value in figures.items() if value is not None}
    if trial.values and len(trial.values) == 1:
        found[ACCURACY] = trial.values[0]
    return found


def texts_of(trial: FrozenTrial) -> dict[str, str]:
    """What is said of a trial, by name."""
    found = {one.name: one.of(trial) or "" for one in TEXTS}
    found |= {"state": trial.state.name.lower(), "trial": str(trial.number)}
    first = attributes.SEED_OF.of(trial)
    if first is not None:
        found["another_seed_of_trial"] = str(first)
    return {name: text for name, text in found.items() if text}


def seconds_since_epoch(when: dt.datetime | None) -> float:
    """A trial's time; now where it has none."""
    return (when or dt.datetime.now()).timestamp()
