"""Hands trials out to local worker processes, each of which trains one at a time."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING, Protocol

from search.engine import storage as storages
from search.engine.allocator import keep_freed_memory
from search.engine.claims import Decision, claim, close, epochs_done, release_dead, release_owned
from search.engine.heartbeat import Heartbeat
from search.engine.owners import owner_name
from search.engine.sampling import make_pruner, make_sampler
from search.engine.vanishing import is_deleted

if TYPE_CHECKING:
    import optuna

DEATHS_IN_A_ROW = 10  # so often each worker may die without an epoch finished in between
STORAGE_FAILED = 3  # exit code of a worker that could not read or write the study
POLL = 0.5  # seconds between looks at a study that has nothing to hand out, at first
LONGEST_POLL = 3.0  # later: many workers that wait must not keep the study busy


class Objective(Protocol):
    """Judges a trial; ``should_stop`` is asked often, and True ends the trial early."""

    def __call__(self, trial: optuna.Trial, should_stop: Callable[[], bool]) -> float:
        """The trial's value."""
        ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker needs to know; small, and sent to its process as a whole."""

    storage: str
    study: str
    trials: int  # finished trials that the study shall hold
    sampler: str
    pruner: str
    seed: int
    epochs: int
    started: datetime  # of the run: older failures do not end it
    make_objective: Callable[[int], Objective]  # from a worker's index
    queue_only: bool = False  # start what is queued; the sampler draws nothing


def load_study(job: Job) -> optuna.Study:
    """The job's study with its sampler and pruner; the parent has created it."""
    import optuna

    from search.engine.frugal import frugal

    return optuna.load_study(
        study_name=job.study,
        storage=frugal(storages.connect(job.storage, patient=True)),
        sampler=make_sampler(job.sampler, job.seed),
        pruner=make_pruner(job.pruner, job.epochs),
    )


def work(job: Job, index: int, parent: int) -> None:
    """Run trials until the study holds enough, a stop is asked for, or the parent is gone."""
    import optuna

    stop = False

    def ask_to_stop(_signal: int, _frame: object) -> None:
        nonlocal stop
        stop = True

    def should_stop() -> bool:
        return stop or os.getppid() != parent

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells us
    signal.signal(signal.SIGTERM, ask_to_stop)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    storages.be_patient(job.storage, give_up=should_stop)
    study = load_study(job)
    owner = owner_name()
    objective = job.make_objective(index)
    pause = POLL
    try:
        while not should_stop():
            decision, trial = _claim(study, job, owner)
            if decision is Decision.ENOUGH or decision is Decision.FAILING:
                return
            if trial is None:
                pause = min(1.2 * pause, LONGEST_POLL)
                time.sleep(pause)
                continue
            pause = POLL
            run_trial(study, trial, objective, should_stop, job.storage)
    except KeyError:
        if is_deleted(study):
            sys.exit(STORAGE_FAILED)  # the parent says so
        raise


def _claim(study: optuna.Study, job: Job, owner: str) -> tuple[Decision, optuna.trial.Trial | None]:
    """Start the next trial; what was started while a server's lock was lost is given back."""
    from search.engine.frugal import reading_once

    again = False

    def next_trial() -> tuple[Decision, optuna.trial.Trial | None]:
        nonlocal again
        if again:
            release_owned(study, owner)
        again = True
        with reading_once(study):
            return claim(study, job.trials, owner, job.started, queue_only=job.queue_only)

    return storages.under_lock(job.storage, next_trial)


def run_trial(
    study: optuna.Study,
    trial: optuna.Trial,
    objective: Objective,
    should_stop: Callable[[], bool],
    storage: str,
) -> None:
    """Judge one trial and record how it ended; no error of a candidate leaves this function.

    A trial that someone else ends meanwhile, in the dashboard or because this process seemed dead,
    stays as that one left it.
    """
    import optuna

    from search.engine.errors import InterruptedTraining

    try:
        with Heartbeat(study, trial._trial_id):
            value = objective(trial, should_stop)
        study.tell(trial, value, skip_if_finished=True)
    except optuna.TrialPruned:
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            study.tell(trial, state=optuna.trial.TrialState.PRUNED, skip_if_finished=True)
    except optuna.exceptions.UpdateFinishedTrialError:
        return
    except InterruptedTraining:
        storages.under_lock(
            storage, lambda: close(study, trial._trial_id, reason="interrupted", retry=True)
        )
    except Exception as error:
        if storages.is_storage_error(error) or is_deleted(study):
            raise
        _fail(study, trial, error, storage)


def _fail(study: optuna.Study, trial: optuna.Trial, error: Exception, storage: str) -> None:
    """Fail a trial over an error of its candidate, and keep the traceback."""
    import traceback

    import optuna

    text = traceback.format_exc()[-8000:]
    with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
        trial.set_user_attr("traceback", text)
        _append_note(trial, text)
        reason = f"failed: {error or type(error).__name__}"
        storages.under_lock(storage, lambda: close(study, trial._trial_id, reason=reason))


def _append_note(trial: optuna.Trial, text: str) -> None:
    """Show a text in the trial's note in the dashboard, as it is."""
    from optuna_dashboard import get_note, save_note

    fenced = "```\n" + text.replace("```", "") + "\n```"
    save_note(trial, f"{get_note(trial)}\n\n{fenced}".strip())


class WorkerError(Exception):
    """A worker ended over an error that is not a candidate's."""


def _how(exit_code: int | None) -> str:
    """What ended a process, for a person."""
    if exit_code == -signal.SIGKILL:
        return "by SIGKILL (the system may be out of memory: try fewer --workers)"
    if exit_code is not None and exit_code < 0:
        return f"by {signal.Signals(-exit_code).name}"
    if exit_code == STORAGE_FAILED:
        return "because it could not read or write the study"
    return f"with exit code {exit_code}"


class LocalWorkers:
    """A number of worker processes on this machine, replaced when one dies.

    Args:
        job: What each of them does.
        count: How many.
        deaths: How often each may die with no epoch of any trial finished in between; more than
            a trial may be cut, so that one bad candidate is given up first.
    """

    def __init__(self, job: Job, count: int, *, deaths: int = DEATHS_IN_A_ROW) -> None:
        self._job = job
        self._most_deaths = deaths * count
        self._deaths = 0
        self._epochs_done = -1
        self._context = multiprocessing.get_context("spawn")
        self._processes: list[BaseProcess] = [self._start(index) for index in range(count)]

    def _start(self, index: int) -> BaseProcess:
        process = self._context.Process(target=_main, args=(self._job, index, os.getpid()))
        # Ctrl-C reaches a terminal's whole process group: what a new process ignores when it
        # starts it goes on ignoring, also while it still imports.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            process.start()
        finally:
            signal.signal(signal.SIGINT, handler)
        return process

    @property
    def running(self) -> bool:
        """Whether any process is alive."""
        return any(process.is_alive() for process in self._processes)

    @property
    def unfinished(self) -> bool:
        """Whether any process is alive, or has died and is to be replaced."""
        return any(process.exitcode != 0 for process in self._processes)

    def tend(self, study: optuna.Study) -> int:
        """Release the trials of dead workers and replace those.

        A worker that a signal ended is replaced at once; one that could not write the study is
        replaced if the study can be written again.

        Returns:
            How many had died.

        Raises:
            UserError: If the study cannot be written.
            WorkerError: If a worker ended over an error in the program, which it has printed, or
                workers die again and again.
        """
        dead = [i for i, p in enumerate(self._processes) if not p.is_alive() and p.exitcode]
        codes = {self._processes[index].exitcode for index in dead}
        if STORAGE_FAILED in codes:
            storages.probe(study, self._job.storage)
        if 1 in codes:
            raise WorkerError("a worker ended over the error that is printed above")
        if dead:
            self._count_deaths(study, [self._processes[index].exitcode for index in dead])
            pids = [self._processes[index].pid for index in dead]
            # Where that cannot be held now, the next look releases them.
            storages.try_under_lock(self._job.storage, lambda: release_dead(study, alone=pids))
        for index in dead:
            self._processes[index] = self._start(index)
        return len(dead)

    def _count_deaths(self, study: optuna.Study, codes: list[int | None]) -> None:
        done = epochs_done(study.get_trials(deepcopy=False))
        self._deaths = len(codes) + (0 if done > self._epochs_done else self._deaths)
        self._epochs_done = done
        if self._deaths >= self._most_deaths:
            raise WorkerError(
                f"workers died {self._deaths} times with no epoch finished in between, "
                f"the last {_how(codes[-1])}. Mend that and give the same command again."
            )

    def stop(self) -> None:
        """Ask every worker to end its trial now."""
        for process in self._processes:
            if process.is_alive():
                process.terminate()

    def kill(self) -> None:
        """End every worker at once; its trial is released by the caller."""
        for process in self._processes:
            process.kill()

    def join(self, timeout: float) -> bool:
        """Wait for all to end; returns whether they did."""
        deadline = time.monotonic() + timeout
        for process in self._processes:
            process.join(max(0.0, deadline - time.monotonic()))
        return not self.running


def _main(job: Job, index: int, parent: int) -> None:
    """A worker process from start to end; its exit code tells the parent what to do."""
    import torch

    torch.set_num_threads(1)
    keep_freed_memory()
    try:
        work(job, index, parent)
    except Exception as error:
        if storages.is_storage_error(error):
            sys.exit(STORAGE_FAILED)
        raise
