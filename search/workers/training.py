"""A worker's part of an objective: trains a task and tells how it goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from search.common.errors import TrainingError
from search.workers.messages import Begun, Ended, EpochDone, Event, Stopped, Stops, Tell, Trained
from search.workers.worker import attempt, failed

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

    def __call__(self, tasks: Sequence[Task], tell: Tell, stops: Stops) -> None:
        """Train tasks; each goes on from its state, where that is of the very same training.

        Several are trained as one network, where that gives the same as each alone. What was begun
        alone goes on alone, and so does each of those whose network as a whole raised an error: it
        may need more memory than there is.
        """
        if len(tasks) == 1:
            return self._alone(tasks[0], tell, stops)
        left = {task.number: task for task in tasks}

        def pass_on(event: Event) -> None:
            if isinstance(event, Ended):
                del left[event.number]
            tell(event)

        with suppress(Exception):
            self._together(tasks, pass_on, stops)
        for task in list(left.values()):
            attempt(partial(self._alone, task, stops=stops), [task.number], tell)

    def _together(self, tasks: Sequence[Task], tell: Tell, stops: Stops) -> None:
        """Train what can be as one network; all that this takes of memory is free afterwards."""
        for group in self._groups(tasks):
            with suppress(Exception):
                self._stacked(group, tell, stops)

    def _alone(self, task: Task, tell: Tell, stops: Stops) -> None:
        begun = self._begin(task)
        begun.tell_of(tell)
        for epoch in begun.run.epochs(partial(stops, task.number)):
            tell(begun.done(epoch))
        self._end(begun, tell)

    def _groups(self, tasks: Sequence[Task]) -> list[list[_Begun]]:
        """Those that can be trained as one network: with as many epochs behind them."""
        from search.training.loop import can_train_stacked

        every = [self._begin(task, stacked=True) for task in tasks]
        going_on = [begun for begun in every if begun.run.curve]
        fresh = [begun for begun in every if begun.task.state is None]
        groups = [[one for one in going_on if len(one.run.curve) == n] for n in _lengths(going_on)]
        groups += [fresh] if len(fresh) > 1 else []
        pair = (tasks[0], tasks[-1])

        def make(at: int) -> TrainingRun:
            return self._objective.begin(pair[at], stacked=True)[0]

        return groups if groups and can_train_stacked(make) else []

    def _stacked(self, group: Sequence[_Begun], tell: Tell, stops: Stops) -> None:
        from search.training.loop import train_stacked

        def all_stop() -> bool:
            return all([stops(begun.task.number) for begun in group])

        for begun in group:
            begun.tell_of(tell)
        runs = [begun.run for begun in group]
        going = list(group)
        for found in train_stacked(runs, all_stop):
            for begun, epoch in zip(group, found, strict=True):
                if not isinstance(epoch, TrainingError):
                    tell(begun.done(epoch))
                elif begun in going:
                    going.remove(begun)
                    tell(failed(begun.task.number, epoch))
        for begun in going:
            number = begun.task.number
            if stops(number):
                tell(Stopped(number=number))
            else:
                attempt(partial(self._end, begun), [number], tell)

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
        tell(Trained(number=begun.task.number, value=value, facts=facts, weights=weights))


@dataclass(frozen=True, kw_only=True)
class _Begun:
    """A task whose network is built."""

    task: Task
    run: TrainingRun
    facts: dict[str, Any]
    identity: str  # of its states

    def tell_of(self, tell: Tell) -> None:
        """That it is begun."""
        tell(Begun(number=self.task.number, facts=self.facts, curve=tuple(self.run.curve)))

    def done(self, epoch: Epoch) -> EpochDone:
        """What to tell of an epoch, the last of the run."""
        from search.training.checkpoint import pack

        more = epoch.number < self.run.length
        state = pack(self.identity, self.run.state()) if more else None
        return EpochDone(number=self.task.number, epoch=epoch, state=state)


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
