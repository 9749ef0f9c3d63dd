"""The one process that owns the study: hands trials to workers, reports, prunes, tells.

A trial's way: ``SharedStudy.dispatch`` asks for it and has the judge propose it; a worker that is
ready is given the task; it tells ``Begun``, an ``EpochDone`` after each epoch and ``Trained``,
and each is written into the study as it comes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from search.common.errors import UserError
from search.common.interrupts import stop_signals
from search.common.output import complain, say
from search.common.text import counted
from search.console.live_view import Progress
from search.reporting.records import read_limits
from search.study import attributes
from search.study.parents import BEAT_SECONDS
from search.study.sampling.choice import make_pruner, make_sampler
from search.study.shared import FAILURES_IN_A_ROW, Answer, SharedStudy, count_finished
from search.study.storages.opening import is_storage_error
from search.study.storages.server_retry import retry_of
from search.study.storages.vanishing import Vanishing
from search.study.trial_files import TrialFiles
from search.workers import messages
from search.workers.job import Job
from search.workers.messages import Event, MakeTraining, Workers
from search.workers.regularly import Regularly
from search.workers.trial_writer import TrialAtWorker, TrialWriter

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from search.console.terminal import Terminal
    from search.data.dataset import DataSource
    from search.study.judge import Task

WAIT_SECONDS = 0.5  # for the workers to tell something
SHOW_SECONDS = 0.5  # between two looks of the user at the study
REFRESH_SECONDS = 2.0  # between two looks at what other commands do
TAKE_OVER_SECONDS = 5.0  # between two looks for trials whose process is gone
DEATHS_IN_A_ROW = 10  # so often each worker may die without an epoch finished in between
ENDS = (Answer.ENOUGH, Answer.FAILING)  # once nothing is trained any more
Start = Callable[[MakeTraining, "DataSource", int], Workers]


class WorkerError(Exception):
    """A worker ended over an error that is not a candidate's."""


def coordinate(
    job: Job,
    workers: int,
    console: Terminal,
    *,
    start: Start,
    on_look: Callable[[Sequence[FrozenTrial]], None] = lambda trials: None,
) -> int:
    """Have workers train until the study holds the job's trials.

    Args:
        job: What is to be done.
        workers: How many at most; no more are started than trials are left that nobody runs.
        console: Shows the progress.
        start: Starts so many workers: on this machine, or elsewhere.
        on_look: Told the study's trials again and again.

    Returns:
        The exit code: 0, also where ``job.stopping`` ended it, 1 after failures in a row, 128 + N
        when stopped by signal N.

    Raises:
        UserError: If the study can no longer be read or written.
    """
    study = SharedStudy(
        job.storage,
        job.study,
        make_sampler(job.sampler, job.seed, job.known, limits=job.limits, stack=job.stack),
        make_pruner(job.pruner, job.epochs, job.validation_images),
    )
    vanishing = Vanishing(job.storage, job.study, study.find)
    with vanishing.said():
        taken = study.take_over()
        if taken:
            say(f"resuming what an earlier run left: {counted(taken, 'trial')}")
        trials = study.trials()
        finished = count_finished(trials)
        if finished >= job.trials:
            held = counted(finished, "finished trial")
            say(f"the study already holds {held} of the {job.trials:,} asked for: nothing to do")
            return 0
        if job.stopping.is_enough(trials, read_limits(attributes.SETTINGS.of(study.study))):
            say(f"nothing to do: {job.stopping.reason}")
            return 0
        running = sum(trial.state == TrialState.RUNNING for trial in trials)  # by other commands
        left = job.trials - finished - running
        groups = -(-left // job.stack) if job.queue_only else left
        workers = max(1, min(workers, groups))
        with stop_signals() as signals:
            pool = start(job.make_training, job.source, workers)
            run = _Run(job, study, pool, workers, signals, vanishing.check)
            try:
                return run.to_the_end(console, on_look)
            except WorkerError as error:
                complain(f"error: {error}")
                return 1
            except KeyboardInterrupt:
                return 128 + signals[0]
            except Exception as error:
                # Stopped while it waited for a server.
                if signals and (is_storage_error(error) or isinstance(error, UserError)):
                    return 128 + signals[0]
                raise
            finally:
                pool.close()


class _Run:
    """One call of ``coordinate``."""

    def __init__(
        self,
        job: Job,
        study: SharedStudy,
        pool: Workers,
        workers: int,
        signals: list[int],
        check: Callable[[], None],
    ) -> None:
        self._job, self._study, self._pool, self._signals = job, study, pool, signals
        self._workers = workers
        self._limits = read_limits(attributes.SETTINGS.of(study.study))
        self._states = TrialFiles(job.checkpoints, job.study)
        self._writer = TrialWriter(job, study, self._states)
        self._names: dict[int, str] = {}  # of the workers
        self._ready: set[int] = set()
        self._at: dict[int, TrialAtWorker] = {}  # by the trial's number
        self._deaths = 0  # of workers, with no epoch finished in between
        self._progress: Progress | None = None
        self._regular = [
            Regularly(SHOW_SECONDS, check),
            Regularly(REFRESH_SECONDS, study.refresh, share=0.1),
            Regularly(BEAT_SECONDS, self._beat),
            Regularly(TAKE_OVER_SECONDS, self._take_over),
        ]

    def to_the_end(
        self, console: Terminal, on_look: Callable[[Sequence[FrozenTrial]], None]
    ) -> int:
        """The loop; returns the exit code."""
        job = self._job
        job.stopping.begin()
        with Progress(
            console,
            epochs=job.epochs,
            workers=self._workers,
            limits=self._limits,
            most_seconds=lambda: job.stopping.seconds_left,
        ) as self._progress:
            retry = retry_of(job.storage)
            retry.give_up, retry.say = lambda: bool(self._signals), self._progress.say
            self._regular.append(Regularly(SHOW_SECONDS, lambda: self._show(on_look)))
            answer = Answer.AGAIN
            while not (self._is_stopped() or (answer in ENDS and not self._at)):
                told = self._pool.events(0 if answer is Answer.AGAIN else WAIT_SECONDS)
                for regular in self._regular:  # before what was told: this machine may have slept
                    regular()
                for worker, event in told:
                    self._hear(worker, event)
                for line in self._pool.notices():
                    self._say(line)
                answer = self._dispatch()
            if self._is_stopped():
                why = "" if self._signals else f", as {job.stopping.reason}"
                self._say(f"stopping{why}: run the same command again to resume")
                for training in self._at.values():
                    self._writer.put_back(training.number)
            self._show(on_look)
        ended = {t.number for t in self._study.trials() if t.state.is_finished()}
        self._states.sweep(ended)  # also of trials that somebody ended in the dashboard
        if self._signals:
            return 128 + self._signals[0]
        return self._failing()

    def _is_stopped(self) -> bool:
        """Whether to end at once: by a signal, or as the time is over."""
        return bool(self._signals) or self._job.stopping.is_time_over()

    def _dispatch(self) -> Answer:
        """Give each worker that is ready a trial, as long as more are wanted."""
        if self._job.stopping.is_enough(self._study.trials(), self._limits):
            return Answer.ENOUGH
        if not self._ready:
            return Answer.WAIT
        answer = Answer.GIVEN
        while self._ready and answer is Answer.GIVEN:
            worker = min(self._ready)
            answer = self._study.dispatch(
                self._job.judge,
                self._job.trials,
                self._names[worker],
                partial(self._give, worker),
                partial(self._take, worker),
                queue_only=self._job.queue_only,
                stack=self._job.stack,
            )
        return answer

    def _give(self, worker: int, tasks: Sequence[Task]) -> None:
        self._ready.discard(worker)
        for task in tasks:
            self._at[task.number] = TrialAtWorker(number=task.number, worker=worker)
        known = [replace(task, state=self._states.read(task.number)) for task in tasks]
        self._pool.give(worker, known)

    def _take(self, worker: int, task: Task) -> None:
        self._end(self._at[task.number])

    def _end(self, training: TrialAtWorker) -> None:
        """Have a worker end what is no longer wanted, if it is still at it."""
        del self._at[training.number]
        self._pool.stop(training.worker, training.number)

    def _hear(self, worker: int, event: Event) -> None:
        """Take in what a worker has told."""
        match event:
            case messages.Ready():
                self._names[worker] = event.name
                self._ready.add(worker)
            case messages.Broken():
                raise WorkerError(
                    f"a worker stopped because of an internal error:\n{event.traceback}"
                )
            case messages.Died():
                self._died(worker, event)
            case _:
                training = self._at.get(event.number)
                if training is None or training.worker != worker:
                    return  # its trial has ended otherwise
                if isinstance(event, messages.EpochDone):
                    self._deaths = 0
                if isinstance(event, messages.Ended):
                    del self._at[event.number]
                if not self._writer.take_in(training, event):
                    self._at.pop(event.number, None)
                    self._pool.stop(worker, event.number)

    def _died(self, worker: int, event: messages.Died) -> None:
        """Have what a dead worker trained go on elsewhere.

        Raises:
            WorkerError: If workers die again and again.
        """
        self._ready.discard(worker)
        self._deaths += 1
        trainings = [one for one in self._at.values() if one.worker == worker]
        if not event.node:
            its = "its trial" if len(trainings) < 2 else f"its {counted(len(trainings), 'trial')}"
            self._say(f"1 worker died and was replaced; {its} will be resumed")
        for training in trainings:
            del self._at[training.number]
            alone = None if event.node else len(training.curve)
            self._writer.put_back(training.number, died_after=alone)
        if self._deaths >= DEATHS_IN_A_ROW * self._workers:
            raise WorkerError(
                f"workers died {counted(self._deaths, 'time')} with no epoch finished in between, "
                f"the last{event.how}. Fix that and run the same command again."
            )

    def _beat(self) -> None:
        for number in self._study.beat():
            if number in self._at:
                self._end(self._at[number])

    def _take_over(self) -> None:
        taken = self._study.take_over()
        if taken:
            self._say(f"resuming what was interrupted elsewhere: {counted(taken, 'trial')}")

    def _show(self, on_look: Callable[[Sequence[FrozenTrial]], None]) -> None:
        trials = self._study.trials()
        if self._progress:
            self._progress.update(trials, self._job.trials)
        on_look(trials)

    def _say(self, line: str) -> None:
        if self._progress:
            self._progress.say(line)

    def _failing(self) -> int:
        """1, with the last one's traceback printed, if the run ended over failed trials, else 0."""
        failures = self._study.failures()
        if len(failures) < FAILURES_IN_A_ROW:
            return 0
        reason = attributes.REASON.of(failures[0]) or "unknown"
        failed = counted(len(failures), "trial")
        complain(f"error: {failed} failed in a row, the last: {reason}")
        for line in (attributes.TRACEBACK.of(failures[0]) or "").splitlines():
            complain(line)
        return 1
