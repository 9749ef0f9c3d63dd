"""A worker's part of an objective: trains a task and tells how it goes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from search.workers.messages import Begun, EpochDone, Tell, Trained

if TYPE_CHECKING:
    from objective import Settings
    from search.data.dataset import DataSource
    from search.study.judge import Task
    from search.training.loop import TrainingRun


class Trainee(Protocol):
    """The part of an objective that holds the network."""

    def begin(self, task: Task) -> tuple[TrainingRun, dict[str, Any]]:
        """Build the network; also gives the attributes that only this place knows."""
        ...

    def end(self, run: TrainingRun) -> tuple[float, dict[str, Any]]:
        """The value of a trial whose epochs are done, and more attributes of it."""
        ...


class ObjectiveTraining:
    """Trains by an objective; see ``messages.Training``.

    Args:
        objective: Made in this process.
        keep_weights: Whether to send networks that are trained.
    """

    def __init__(self, objective: Trainee, *, keep_weights: bool) -> None:
        self._objective = objective
        self._keep_weights = keep_weights

    def __call__(self, task: Task, tell: Tell, should_stop: Callable[[], bool]) -> None:
        """Train a task, from its state on where that is of the very same training."""
        from search.study.weights import pack_weights
        from search.training.checkpoint import pack, unpack
        from search.training.loop import STATE_FORMAT

        run, facts = self._objective.begin(task)
        of = [STATE_FORMAT, task.seed, task.candidate, run.length, facts]
        identity = json.dumps(of, sort_keys=True)
        state = unpack(task.state, identity)
        if state is not None:
            run.load_state(state)
        tell(Begun(facts=facts, curve=tuple(run.curve)))
        for epoch in run.epochs(should_stop):
            more = epoch.number < run.length
            tell(EpochDone(epoch=epoch, state=pack(identity, run.state()) if more else None))
        value, facts = self._objective.end(run)
        weights = pack_weights(run.model, task) if self._keep_weights else None
        tell(Trained(value=value, facts=facts, weights=weights))


def training_by(
    objective: Callable[[Settings], Trainee], settings: Settings, *, keep_weights: bool = False
) -> Callable[[int, DataSource], ObjectiveTraining]:
    """Makes each worker's part of an objective, on its device; can be pickled.

    Args:
        objective: Made from settings, in the worker.
        settings: Of the search.
        keep_weights: Whether workers send the networks that they trained.
    """
    return partial(_make, objective, settings, keep_weights)


def _make(
    objective: Callable[[Settings], Trainee],
    settings: Settings,
    keep_weights: bool,
    worker: int,
    source: DataSource,
) -> ObjectiveTraining:
    from search.training.hardware import device_of_worker

    device = device_of_worker(settings.device, worker)
    here = objective(replace(settings, device=device, source=source))
    return ObjectiveTraining(here, keep_weights=keep_weights)
