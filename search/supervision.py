"""Watches over a search's workers: shows them, replaces dead ones, passes signals on."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from optuna.trial import TrialState

from search.engine import attributes
from search.engine.claims import (
    FAILURES_IN_A_ROW,
    count_finished,
    release_dead,
    trailing_failures,
)
from search.engine.heartbeat import Silence
from search.engine.local_workers import LocalWorkers
from search.engine.locks import be_patient, try_under_lock, under_lock
from search.engine.output import complain, say
from search.engine.pool import WorkerError
from search.engine.text import counted
from search.engine.vanishing import Vanishing
from search.progress import Progress
from search.reporting.records import read_limits

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial

    from search.engine.pool import Workers
    from search.engine.workers import Job
    from search.terminal import Terminal

STOP_SIGNALS = [signal.SIGINT, signal.SIGTERM] + [
    getattr(signal, name) for name in ("SIGHUP",) if hasattr(signal, name)
]
RELEASE_SECONDS = 5.0  # how often to look for cut trials of other commands on this machine
STOP_SECONDS = 20.0  # how long workers get to end their trials after Ctrl-C


def supervise(
    study: optuna.Study,
    job: Job,
    workers: int,
    console: Terminal,
    *,
    start: Callable[[Job, int], Workers] = LocalWorkers,
    on_look: Callable[[list[FrozenTrial]], None] = lambda trials: None,
) -> int:
    """Run workers until the study holds the job's trials.

    Args:
        study: Exists.
        job: What the workers do.
        workers: How many at most; no more are started than trials are left that nobody runs.
        console: Shows the progress.
        start: Starts so many workers: on this machine, or elsewhere.
        on_look: Told the study's trials again and again while they run.

    Returns:
        The exit code: 0, 1 after failures in a row, 128 + N when stopped by signal N.

    Raises:
        UserError: If the study can no longer be read or written.
    """
    here = Vanishing(study, job.storage)
    with here.said():
        return _supervise(study, job, workers, console, here, start, on_look)


def _supervise(
    study: optuna.Study,
    job: Job,
    workers: int,
    console: Terminal,
    here: Vanishing,
    start: Callable[[Job, int], Workers],
    on_look: Callable[[list[FrozenTrial]], None],
) -> int:
    released = under_lock(job.storage, lambda: release_dead(study))
    if released:
        say(f"queued again, cut in an earlier run: {counted(len(released), 'trial')}")
    trials = study.get_trials(deepcopy=False)
    if count_finished(trials) >= job.trials:
        held = counted(count_finished(trials), "finished trial")
        say(f"the study already holds {held} of the {job.trials:,} asked for: nothing to do")
        return 0
    running = sum(trial.state == TrialState.RUNNING for trial in trials)  # by other commands
    workers = max(1, min(workers, job.trials - count_finished(trials) - running))
    ended = frozenset(trial.number for trial in trials if trial.state.is_finished())
    job = replace(job, ended_before=ended)
    signals: list[int] = []
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    for number in STOP_SIGNALS:
        if number == signal.SIGINT or before[number] != signal.SIG_IGN:  # which nohup asks for
            signal.signal(number, lambda received, _frame: signals.append(received))
    pool = start(job, workers)
    elsewhere = _Elsewhere(study, job)
    failed = False
    try:
        limits = read_limits(study.user_attrs.get("settings"))
        with Progress(console, epochs=job.epochs, workers=workers, limits=limits) as progress:
            be_patient(job.storage, give_up=lambda: bool(signals), say=progress.say)
            while pool.unfinished and not signals:
                here.check()
                trials = study.get_trials(deepcopy=False)
                progress.update(trials, job.trials)
                on_look(trials)
                time.sleep(0.5)
                here.check()
                for line in pool.tend(study):
                    progress.say(line)
                cut = elsewhere.tend(trials)
                if cut:
                    progress.say(f"queued again, cut elsewhere: {counted(cut, 'trial')}")
            if signals:
                progress.say("stopping: every worker ends its trial; once more to stop at once")
                pool.stop()
                deadline = time.monotonic() + STOP_SECONDS
                while pool.running and len(signals) < 2 and time.monotonic() < deadline:
                    time.sleep(0.1)
            progress.update(study.get_trials(deepcopy=False), job.trials)
    except WorkerError as error:
        complain(f"error: {error}")
        failed = True
    finally:
        pool.kill()
        pool.join(5.0)
        for number, handler in before.items():
            signal.signal(number, handler)
    under_lock(job.storage, lambda: release_dead(study, gone=pool.gone))
    if signals:
        return 128 + signals[0]
    return 1 if failed else _failing(study, job)


def _failing(study: optuna.Study, job: Job) -> int:
    """1, with the last one's traceback printed, if the run ended over failed trials, else 0."""
    failures = trailing_failures(study.get_trials(deepcopy=False), job.ended_before)
    if len(failures) < FAILURES_IN_A_ROW:
        return 0
    reason = attributes.REASON.of(failures[0]) or "unknown"
    failed = counted(len(failures), "trial")
    complain(f"error: {failed} failed in a row, the last: {reason}")
    for line in (attributes.TRACEBACK.of(failures[0]) or "").splitlines():
        complain(line)
    return 1


class _Elsewhere:
    """Queues the cut trials of other commands on the same study, here or on other machines."""

    def __init__(self, study: optuna.Study, job: Job) -> None:
        self._study = study
        self._job = job
        self._silence = Silence()
        self._tended = time.monotonic()

    def tend(self, trials: list[FrozenTrial]) -> int:
        """Look every few seconds; returns how many were cut."""
        silent = self._silence.look(trials)
        if time.monotonic() - self._tended < RELEASE_SECONDS:
            return 0
        self._tended = time.monotonic()
        released = try_under_lock(self._job.storage, lambda: release_dead(self._study, silent))
        return len(released or ())
