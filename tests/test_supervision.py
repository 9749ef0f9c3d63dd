"""Who watches over the workers: which signals it heeds, and what it prints of failures."""

from __future__ import annotations

import signal
from collections.abc import Collection
from pathlib import Path

import optuna
import pytest

from search.engine.storage import create_study
from search.engine.workers import Job
from search.supervision import _failing, supervise
from search.terminal import Terminal
from tests.no_data import job_without_data


class NoWorkers:
    """Workers that have nothing left to do; remembers who would hear a signal meanwhile."""

    running = unfinished = False
    gone: Collection[str] = ()

    def __init__(self, job: Job, count: int) -> None:
        self.heard = {name: signal.getsignal(name) for name in (signal.SIGHUP, signal.SIGTERM)}

    def tend(self, study: optuna.Study) -> list[str]:
        return []

    def stop(self) -> None: ...

    def kill(self) -> None: ...

    def join(self, timeout: float) -> bool:
        return True


def test_nohup_is_respected_and_signals_are_handed_back(tmp_path: Path) -> None:
    path = str(tmp_path / "a.db")
    study = create_study(path, "s")
    started: list[NoWorkers] = []

    def start(job: Job, count: int) -> NoWorkers:
        started.append(NoWorkers(job, count))
        return started[-1]

    job = job_without_data(path, None, trials=1)
    names = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(name) for name in names]
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
    try:
        supervise(study, job, 1, Terminal(quiet=True), start=start)
    finally:
        signal.signal(signal.SIGHUP, before[2])
    supervise(study, job, 1, Terminal(quiet=True), start=start)
    assert [signal.getsignal(name) for name in names] == before
    ignoring, heeding = (pool.heard for pool in started)
    assert ignoring[signal.SIGHUP] is signal.SIG_IGN
    assert callable(ignoring[signal.SIGTERM])
    assert callable(heeding[signal.SIGHUP])


def test_a_failure_is_printed_with_its_lines_and_without_its_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = create_study(str(tmp_path / "a.db"), "s")
    job = job_without_data(str(tmp_path / "a.db"), None, trials=1)
    for _ in range(5):
        trial = study.ask()
        trial.set_user_attr("reason", "failed: \x1b[2J\nx")
        trial.set_user_attr("traceback", "Traceback:\n  File \x1b]0;y\x07\nx")
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    assert _failing(study, job) == 1
    assert capsys.readouterr().err.splitlines() == [
        "error: 5 trials failed in a row, the last: failed: [2J x",
        "Traceback:",
        r"  File \x1b]0;y\x07",
        "x",
    ]
