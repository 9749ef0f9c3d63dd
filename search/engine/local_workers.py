"""Workers as processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Collection
from multiprocessing.process import BaseProcess
from typing import TYPE_CHECKING

from search.engine import locks
from search.engine import storage as storages
from search.engine.allocator import keep_freed_memory
from search.engine.claims import release_dead
from search.engine.output import protect
from search.engine.pool import DEATHS_IN_A_ROW, Deaths, WorkerError, replaced
from search.engine.workers import STORAGE_FAILED, work

if TYPE_CHECKING:
    import optuna

    from search.engine.workers import Job


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
        self._deaths = Deaths(deaths * count)
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

    @property
    def gone(self) -> Collection[str]:
        """None: the processes can be seen from here."""
        return ()

    def tend(self, study: optuna.Study) -> list[str]:
        """Release the trials of dead workers and replace those.

        A worker that a signal ended is replaced at once; one that could not write the study is
        replaced if the study can be written again.

        Returns:
            A line if some had died.

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
        if not dead:
            return []
        self._deaths.add(study, len(dead), _how(self._processes[dead[-1]].exitcode))
        pids = [self._processes[index].pid for index in dead]
        # Where that cannot be held now, the next look releases them.
        locks.try_under_lock(self._job.storage, lambda: release_dead(study, alone=pids))
        for index in dead:
            self._processes[index] = self._start(index)
        return [replaced(len(dead))]

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


def _how(exit_code: int | None) -> str:
    """What ended a process, to stand behind "the last"."""
    if exit_code == -signal.SIGKILL:
        return " by SIGKILL (the system may be out of memory: try fewer --workers)"
    if exit_code is not None and exit_code < 0:
        return f" by {signal.Signals(-exit_code).name}"
    if exit_code == STORAGE_FAILED:
        return " because it could not read or write the study"
    return f" with exit code {exit_code}"


def _main(job: Job, index: int, parent: int) -> None:
    """A worker process from start to end; its exit code tells the parent what to do."""
    protect()
    import torch

    stop = False

    def ask_to_stop(_signal: int, _frame: object) -> None:
        nonlocal stop
        stop = True

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent tells us
    signal.signal(signal.SIGTERM, ask_to_stop)
    torch.set_num_threads(1)
    keep_freed_memory()
    sys.exit(work(job, index, lambda: stop or os.getppid() != parent))
