"""Writes into the study what workers tell of its trials, each thing as it comes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import optuna
from optuna.exceptions import UpdateFinishedTrialError

from search.study import attributes
from search.study.trial_files import TrialFiles
from search.workers import messages

if TYPE_CHECKING:
    from search.study.shared import SharedStudy
    from search.training.epoch import Epoch
    from search.workers.job import Job
    from search.workers.messages import Event


@dataclass(kw_only=True)
class TrialAtWorker:
    """A trial that a worker is at."""

    number: int
    worker: int
    curve: list[Epoch] = field(default_factory=list)


class TrialWriter:
    """Writes for the one process that owns the study.

    Args:
        job: Its judge sees every epoch.
        study: Is written.
        states: What trials go on from; written with each epoch, and gone when a trial has ended.
    """

    def __init__(self, job: Job, study: SharedStudy, states: TrialFiles) -> None:
        self._job, self._study, self._states = job, study, states

    def take_in(self, training: TrialAtWorker, event: Event) -> bool:
        """Write what was told of a trial into the study; False where it has ended otherwise.

        It has where the pruner ends it, or somebody else did, in the dashboard for instance, which
        stays as he left it.
        """
        return self._attempt(training.number, partial(self._take_in, training, event))

    def put_back(self, number: int, *, died_after: int | None = None) -> None:
        """See ``SharedStudy.put_back``; what somebody else has ended stays so."""
        self._attempt(number, partial(self._study.put_back, number, died_after=died_after))

    def _attempt(self, number: int, action: Callable[[], object]) -> bool:
        try:
            action()
        except optuna.TrialPruned:
            return False
        except UpdateFinishedTrialError:
            self._study.was_ended(number)
            self._states.remove(number)
            return False
        return True

    def _take_in(self, training: TrialAtWorker, event: Event) -> None:
        number, judge = training.number, self._job.judge
        trial = self._study.trial(number)
        match event:
            case messages.Begun():
                training.curve.clear()  # of a try with other seeds that gave an error
                if event.curve:
                    self._set(trial, {attributes.RESUMED.name: event.curve[-1].number})
                self._set(trial, event.facts)
                for epoch in event.curve:
                    self._report(training, epoch)
            case messages.EpochDone():
                if event.state is not None:
                    self._states.write(number, event.state)
                self._report(training, event.epoch)
            case messages.Trained():
                judge.record(trial, training.curve)
                self._set(trial, event.facts)
                if event.weights is not None:
                    TrialFiles(self._job.weights, self._job.study).write(number, event.weights)
                self._study.complete(number, event.value)
                self._states.remove(number)
            case messages.Failed():
                judge.record(trial, training.curve)
                self._study.fail(number, event.reason, event.traceback)
                self._states.remove(number)

    def _report(self, training: TrialAtWorker, epoch: Epoch) -> None:
        """Take in one more epoch, unless an earlier attempt at the trial has reported the same.

        Raises:
            optuna.TrialPruned: If the trial was pruned.
        """
        number = training.number
        training.curve.append(epoch)
        before = self._study.reported(number, epoch.number)
        if before == epoch.accuracy:
            return
        if before is not None:  # it began anew, on a machine that computes otherwise
            self._study.overwrite(number, epoch.number, epoch.accuracy)
            return
        trial = self._study.trial(number)
        try:
            self._job.judge.report(trial, training.curve)
        except optuna.TrialPruned:
            self._job.judge.record(trial, training.curve)
            self._study.prune(number)
            self._states.remove(number)
            raise

    @staticmethod
    def _set(trial: optuna.Trial, facts: dict[str, Any]) -> None:
        known = trial.user_attrs
        for name, value in facts.items():
            if name not in known or known[name] != value:
                trial.set_user_attr(name, value)
