"""Starts searches as a user does and looks at what they left."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import optuna
import psutil
from optuna.trial import FrozenTrial, TrialState

from search.engine.errors import UserError
from search.engine.storage import connect, open_study

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def start(command: list[str], *more: str) -> subprocess.Popen[str]:
    """A search in a process group of its own."""
    return subprocess.Popen(
        [*command, *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str], timeout: float = 180) -> tuple[int, str, str]:
    """Exit code, output and errors of a search that is left to end."""
    out, err = process.communicate(timeout=timeout)
    return process.returncode, out, err


def kill_group(process: subprocess.Popen[str]) -> None:
    """SIGKILL to the search and all its workers at once, as when the power goes."""
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


_opened: dict[Path, optuna.storages.RDBStorage] = {}  # opening costs 80 ms, a look at it 5


def trials(database: Path) -> list[FrozenTrial]:
    """The study's trials, none while it is not there yet; no connection is left open.

    An open one would spare the next search the recovery that it has to do after a crash.
    """
    if not database.exists():
        _opened.pop(database, None)
        return []
    try:
        if database not in _opened:
            open_study(str(database), "cnn-search")
            _opened[database] = connect(str(database))
        study = optuna.load_study(study_name="cnn-search", storage=_opened[database])
        return study.get_trials(deepcopy=False)
    except (UserError, KeyError):
        return []
    finally:
        if database in _opened:
            _opened[database].engine.dispose()


def wait_for(done: Callable[[], bool], process: subprocess.Popen[str], timeout: float = 90) -> None:
    """Wait while a search runs."""
    deadline = time.monotonic() + timeout
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.05)


def record(trial: FrozenTrial) -> tuple[Any, ...]:
    """Everything that a study holds of a trial."""
    return (
        *(trial.number, trial.state, trial.values, trial.params, trial.user_attrs),
        *(trial.intermediate_values, trial.datetime_start, trial.datetime_complete),
    )


def finished_records(database: Path) -> dict[int, tuple[Any, ...]]:
    """The records of all finished trials."""
    return {t.number: record(t) for t in trials(database) if t.state in FINISHED}


def check_sound(database: Path) -> None:
    """Fail unless SQLite finds the file whole."""
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def check_done(database: Path, total: int) -> None:
    """Fail unless exactly so many trials are finished and every cut one was retried."""
    found = trials(database)
    check_sound(database)
    assert sum(trial.state in FINISHED for trial in found) == total
    assert [t for t in found if t.state in (TrialState.RUNNING, TrialState.WAITING)] == []
    for trial in found:
        if trial.user_attrs.get("retried"):
            first = trial.user_attrs.get("retry_of", trial.number)
            again = [t for t in found if t.user_attrs.get("retry_of") == first]
            assert [t for t in again if t.number > trial.number]
            assert all(t.params.items() >= trial.params.items() for t in again)


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The search's own child processes."""
    return psutil.Process(process.pid).children(recursive=True)
