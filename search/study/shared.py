"""A study as the one process of a command has it: asks, tells, and shares it with other commands.

A trial keeps its number for life. One that is interrupted goes back to ``WAITING`` and is the
next that somebody asks for, with its parameters, attributes and reports.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, TypeVar

import optuna
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from search.common.errors import reason_of, traceback_of
from search.common.process_id import process_id
from search.common.values import natural
from search.study import parents
from search.study.attributes import (
    CANDIDATE,
    DEATHS,
    PARENT,
    REASON,
    RETRIED,
    SEED_OF,
    TRACEBACK,
    WORKER,
)
from search.study.mirror import MirroredStorage, NumberTaken
from search.study.storages.location import sqlite_file
from search.study.storages.locks import study_lock
from search.study.storages.opening import connect, is_storage_error
from search.study.storages.server_retry import LockLost, retry_of

if TYPE_CHECKING:
    from optuna.pruners import BasePruner
    from optuna.samplers import BaseSampler

    from search.study.judge import Judge, Task

FAILURES_IN_A_ROW = 5  # so many failed trials, one after the other, end the run
MOST_DEATHS = 8  # so often a trial's worker may die alone without finishing an epoch more
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
Result = TypeVar("Result")


class Answer(enum.Enum):
    """What is said to who asks for a trial to train."""

    GIVEN = enum.auto()  # one was given
    AGAIN = enum.auto()  # one was asked for that is not to be trained, or the lock was lost
    WAIT = enum.auto()  # the running ones may be enough
    ENOUGH = enum.auto()  # the study holds what was asked for
    FAILING = enum.auto()  # too many failures in a row


class SharedStudy:
    """One study that exists, for the one process of a command that writes it.

    Args:
        storage: A URL or the path of an SQLite file.
        name: The study's.
        sampler: Draws new trials.
        pruner: Ends weak ones.
    """

    def __init__(self, storage: str, name: str, sampler: BaseSampler, pruner: BasePruner) -> None:
        self._storage, self._name = storage, name
        self._sampler, self._pruner = sampler, pruner
        self._id = process_id()
        self._on_server = sqlite_file(storage) is None
        self._backend = connect(storage)
        self._mine: set[int] = set()  # numbers of the trials that this process is at
        self._silent: set[str] = set()  # processes of other machines that seem dead
        self._signs = parents.SignsOfLife(
            self._id,
            lambda key, value: self._mirror.set_study_system_attr(0, key, value),
            lambda: self._mirror.get_study_system_attrs(0),
        )
        self._open()
        self._ended_before = frozenset(t.number for t in self.trials() if t.state.is_finished())

    def _open(self) -> None:
        self._mirror = MirroredStorage(self._backend, self._name, self._keep)
        self.study = optuna.load_study(
            study_name=self._name,
            storage=self._mirror,
            sampler=self._sampler,
            pruner=self._pruner,
        )

    def _keep(self, call: Callable[[], Result]) -> Result:
        """Do a call of the database's; again where its server was away for a while."""
        return retry_of(self._storage).keep(call, self._storage) if self._on_server else call()

    def find(self) -> int:
        """The study's number in its storage; raises KeyError where it is gone."""
        return self._keep(lambda: self._backend.get_study_id_from_name(self._name))

    def trials(self) -> list[FrozenTrial]:
        """All trials, as far as this process knows; not to be changed."""
        return self.study.get_trials(deepcopy=False)

    def trial(self, number: int) -> Trial:
        """A trial to report to."""
        return Trial(self.study, self._mirror.id_of(number))

    def refresh(self) -> None:
        """See what other commands have done."""
        self._mirror.refresh()

    def _under_lock(self, action: Callable[[], Result], timeout: float = -1) -> Result | None:
        """Do something that no other command does meanwhile, knowing all that they have done.

        Returns:
            Its result; None where the lock was not to be had in time, or was lost with a server's
            connection: what was begun may then be half done, and the study is read anew.
        """
        try:
            with study_lock(self._storage, timeout) as held:
                if not held:
                    return None
                self._mirror.refresh()
                return action()
        except (LockLost, NumberTaken):
            self._open()
            return None

    def dispatch(
        self,
        judge: Judge,
        total: int,
        worker: str,
        give: Callable[[Sequence[Task]], None],
        take: Callable[[Task], None],
        *,
        queue_only: bool = False,
        stack: int = 1,
    ) -> Answer:
        """Start the next trial if the study needs one more, or several that are trained at once.

        Args:
            judge: Proposes it.
            total: Finished trials that the study shall hold in the end.
            worker: Recorded as the one that trains it.
            give: Given what is to be trained; one trial is written while that begins.
            take: Told that it could not be written.
            queue_only: Start queued trials alone; the sampler draws none.
            stack: Start at most so many of one candidate: those that wait one after the other, and
                where the sampler draws another seed of a candidate, so many of it.
        """

        def next_trials() -> Answer:
            answer = self._wanted(total, queue_only=queue_only)
            if answer is not None:
                return answer
            drawn = not self._waiting()
            first = self._ask(judge, worker)
            if first is None:
                return Answer.AGAIN
            tasks = [first]
            while (
                len(tasks) < stack
                and self._wanted(total, queue_only=queue_only) is None
                and self._continues(first, drawn=drawn)
                and (task := self._ask(judge, worker)) is not None
            ):
                tasks.append(task)
            self._mine.update(task.number for task in tasks)
            give(tasks)
            try:
                self._mirror.write_draft(first.number)
            except BaseException:
                self._mine.discard(first.number)
                take(first)
                raise
            return Answer.GIVEN

        return self._under_lock(next_trials) or Answer.AGAIN

    def _continues(self, task: Task, *, drawn: bool) -> bool:
        """Whether the next trial is another seed of a task's candidate; sees to it in a race."""
        waiting = self._waiting()
        if waiting:
            return CANDIDATE.of(waiting[0]) == task.candidate
        trial = self.trial(task.number)
        races = drawn and SEED_OF.of(trial) is not None
        if races:
            self._mirror.write_draft(task.number)  # or it would lose its number
            self.study.enqueue_trial(trial.params)
        return races

    def _waiting(self) -> list[FrozenTrial]:
        """Trials that are queued, the next one first."""
        return [trial for trial in self.trials() if trial.state == TrialState.WAITING]

    def _wanted(self, total: int, *, queue_only: bool) -> Answer | None:
        """Why no trial is to be started; None if one is."""
        trials = self.trials()
        finished = count_finished(trials)
        running = sum(trial.state == TrialState.RUNNING for trial in trials)
        if finished >= total:
            return Answer.ENOUGH
        if len(self.failures()) >= FAILURES_IN_A_ROW:
            return Answer.FAILING
        if finished + running >= total:
            return Answer.WAIT
        if queue_only and not self._waiting():
            return Answer.WAIT if running else Answer.ENOUGH
        return None

    def _ask(self, judge: Judge, worker: str) -> Task | None:
        """The next trial's task; None if it is not to be trained."""
        trial = self.study.ask()
        PARENT.set(trial, self._id)
        WORKER.set(trial, worker)
        try:
            return judge.propose(trial)
        except optuna.TrialPruned:
            self.study.tell(trial, state=TrialState.PRUNED)
        except Exception as error:
            if is_storage_error(error):
                raise
            self.fail(trial.number, reason_of(error), traceback_of(error))
        return None

    def failures(self) -> list[FrozenTrial]:
        """Trials of this run that failed with none of a higher number finishing, the last first.

        They go by their numbers: clocks can be set. What was over a limit, and so never trained,
        says nothing about whether training works, and does not count.
        """
        ended = [
            trial
            for trial in self.trials()
            if trial.state.is_finished()
            and trial.number not in self._ended_before
            and not RETRIED.of(trial)
            and (trial.state != TrialState.PRUNED or trial.intermediate_values)
        ]
        return list(itertools.takewhile(lambda t: t.state == TrialState.FAIL, reversed(ended)))

    def reported(self, number: int, step: int) -> float | None:
        """What an earlier attempt at a trial reported, if it did."""
        trial = self._mirror.get_trial(self._mirror.id_of(number))
        return trial.intermediate_values.get(step)

    def overwrite(self, number: int, step: int, value: float) -> None:
        """Replace what an earlier attempt at a trial reported."""
        self._mirror.set_trial_intermediate_value(self._mirror.id_of(number), step, value)

    def complete(self, number: int, value: float) -> None:
        """End a trial with its value."""
        self.study.tell(number, value)
        self._mine.discard(number)

    def prune(self, number: int) -> None:
        """End a trial early; the last value that was reported stands for it."""
        self.study.tell(number, state=TrialState.PRUNED)
        self._mine.discard(number)

    def fail(self, number: int, reason: str, traceback: str = "") -> None:
        """End a trial that cannot be trained."""
        trial = self.trial(number)
        REASON.set(trial, reason)
        if traceback:
            TRACEBACK.set(trial, traceback)
        self.study.tell(number, state=TrialState.FAIL)
        self._mine.discard(number)

    def put_back(self, number: int, *, died_after: int | None = None) -> bool:
        """Have an interrupted trial started again, by whoever asks next.

        Args:
            number: The trial's.
            died_after: The epoch after which its worker died alone, while its machine lived: the
                trial may be to blame, by taking all memory for instance, and is failed where that
                has happened ``MOST_DEATHS`` times without an epoch more.

        Returns:
            Whether it was put back.
        """
        if died_after is not None:
            trial = self.trial(number)
            before = DEATHS.of(trial)
            reached = natural(before.get("after_epoch")) or 0
            deaths = 1 + (natural(before.get("count")) or 0 if died_after <= reached else 0)
            if deaths >= MOST_DEATHS:
                without = "without finishing another epoch"
                self.fail(number, f"failed: its worker died {deaths} times {without}")
                return False
            reached = max(died_after, reached)
            DEATHS.set(trial, {"count": deaths, "after_epoch": reached})
        self._mirror.set_trial_state_values(self._mirror.id_of(number), TrialState.WAITING)
        self._mine.discard(number)
        return True

    def was_ended(self, number: int) -> bool:
        """Whether somebody else has ended a trial of this process, or taken it over."""
        trial = self._mirror.look_again(number)
        if trial.state == TrialState.RUNNING and parents.parent_of(trial) == self._id:
            return False
        if not trial.state.is_finished():
            self._mirror.disown(number)
        self._mine.discard(number)
        return True

    def take_over(self) -> int:
        """Put back the trials whose process is gone; call it every few seconds.

        Returns:
            How many.
        """
        if not parents.orphans(self.trials(), self._mine, self._silent):
            return 0

        def put_back() -> int:
            found = parents.orphans(self.trials(), self._mine, self._silent)
            for number in found:
                try:
                    self.put_back(number)
                except UpdateFinishedTrialError:  # in the dashboard, just now
                    continue
            return len(found)

        return self._under_lock(put_back, timeout=1.0) or 0

    def beat(self) -> list[int]:
        """Give a sign of life and look for others'; every ``parents.BEAT_SECONDS``.

        Returns:
            Numbers of the trials that this process was at and are no longer its own: it seemed
            dead, because its machine slept for instance.
        """
        if not self._on_server:
            return []  # all are on this machine, and can be seen
        self._signs.beat()
        self._silent = self._signs.silent(parents.elsewhere(self.trials()))
        return [number for number in sorted(self._mine) if self.was_ended(number)]


def count_finished(trials: Collection[FrozenTrial]) -> int:
    """Trials that count towards a total: complete and pruned ones."""
    return sum(trial.state in FINISHED for trial in trials)
