"""A worker's part of an objective: trains a task and tells how it goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from search.common.errors import InterruptedTraining, TrainingError, reason_of, traceback_of
from search.workers.messages import Begun, EpochDone, Failed, Stops, Tell, TellOf, Trained
from search.workers.worker import attempt

if TYPE_CHECKING:
    from objective import Settings
    from search.data.dataset import DataSource
    from search.study.judge import Task
    from search.training.epoch import Epoch
    from search.training.loop import TrainingRun


class Trainee(Protocol):
    """The part of an objective that holds the network."""

    def begin(self, task: Task, *, stacked: bool = False) -> tuple[TrainingRun, dict[str, Any]]:
        """Build the network; also gives the attributes that only this place knows.

        Args:
            task: What to build.
            stacked: To be trained with other seeds of the candidate.
        """
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
        begun = self._begin(task)
        begun.tell_of(tell)
        for epoch in begun.run.epochs(should_stop):
            tell(begun.done(epoch))
        self._end(begun, tell)

    def together(self, tasks: Sequence[Task], tell: TellOf, stops: Stops) -> None:
        """Train seeds of one candidate as one network, where that gives the same as each alone.

        What was begun alone goes on alone, and so does what is the only one. See
        ``worker.StackedTraining``.
        """
        from search.training.loop import can_train_stacked

        every = [self._begin(task, stacked=True) for task in tasks]
        going_on = [begun for begun in every if begun.run.curve]
        fresh = [begun for begun in every if begun.task.state is None]
        groups = [[one for one in going_on if len(one.run.curve) == n] for n in _lengths(going_on)]
        groups += [fresh] if len(fresh) > 1 else []
        if groups:
            pair = (tasks[0], tasks[-1])

            def make(at: int) -> TrainingRun:
                return self._objective.begin(pair[at], stacked=True)[0]

            groups = groups if can_train_stacked(make) else []
        for group in groups:
            self._train(group, tell, stops)
        stacked = {begun.task.number for group in groups for begun in group}
        for task in tasks:
            if task.number not in stacked:
                to = partial(tell, task.number)
                attempt(partial(self, task, to, partial(stops, task.number)), to)

    def _train(self, group: Sequence[_Begun], tell: TellOf, stops: Stops) -> None:
        from search.training.loop import train_stacked

        def all_stop() -> bool:
            return all([stops(begun.task.number) for begun in group])

        for begun in group:
            begun.tell_of(partial(tell, begun.task.number))
        runs = [begun.run for begun in group]
        with suppress(InterruptedTraining):
            for found in train_stacked(runs, all_stop):
                for begun, epoch in zip(group, found, strict=True):
                    number = begun.task.number
                    if isinstance(epoch, TrainingError):
                        tell(number, Failed(reason=reason_of(epoch), traceback=traceback_of(epoch)))
                    else:
                        tell(number, begun.done(epoch))
        for begun in group:
            if not stops(begun.task.number):
                to = partial(tell, begun.task.number)
                attempt(partial(self._end, begun, to), to)

    def _begin(self, task: Task, *, stacked: bool = False) -> _Begun:
        from search.training.checkpoint import unpack
        from search.training.loop import STATE_FORMAT

        run, facts = self._objective.begin(task, stacked=stacked)
        of = [STATE_FORMAT, task.seed, task.candidate, run.length, facts]
        begun = _Begun(task=task, run=run, facts=facts, identity=json.dumps(of, sort_keys=True))
        state = unpack(task.state, begun.identity)
        if state is not None:
            run.load_state(state)
        return begun

    def _end(self, begun: _Begun, tell: Tell) -> None:
        from search.study.weights import pack_weights

        value, facts = self._objective.end(begun.run)
        weights = pack_weights(begun.run.model, begun.task) if self._keep_weights else None
        tell(Trained(value=value, facts=facts, weights=weights))


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """A task whose network is built."""

    task: Task
    run: TrainingRun
    facts: dict[str, Any]
    identity: str  # of its states

    def tell_of(self, tell: Tell) -> None:
        """That it is begun."""
        tell(Begun(facts=self.facts, curve=tuple(self.run.curve)))

    def done(self, epoch: Epoch) -> EpochDone:
        """What to tell of an epoch, the last of the run."""
        from search.training.checkpoint import pack

        more = epoch.number < self.run.length
        state = pack(self.identity, self.run.state()) if more else None
        return EpochDone(epoch=epoch, state=state)


def _lengths(every: Sequence[_Begun]) -> list[int]:
    """How many epochs those that go on have behind them."""
    return sorted({len(begun.run.curve) for begun in every})


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
