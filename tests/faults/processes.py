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

from search.common.errors import UserError
from search.study.storages.locks import study_lock
from search.study.storages.opening import connect, open_study

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


def finish(process: subprocess.Popen[str], timeout: float = 300) -> tuple[int, str, str]:
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


def started(database: Path) -> int:
    """How many trials were ever begun."""
    return sum(trial.datetime_start is not None for trial in trials(database))


def wait_for(
    done: Callable[[], bool], process: subprocess.Popen[str], timeout: float = 180
) -> None:
    """Wait while a search runs."""
    deadline = time.monotonic() + timeout
    while not done():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


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


def check_whole(found: list[FrozenTrial], total: int) -> None:
    """Fail unless there are exactly so many trials, all finished, with curves without gaps."""
    assert [trial.number for trial in found] == list(range(total))
    for trial in found:
        assert trial.state in FINISHED, (trial.number, trial.state, trial.user_attrs)
        curve = trial.intermediate_values
        assert sorted(curve) == list(range(1, len(curve) + 1)), (trial.number, curve)
        assert trial.user_attrs.get("epochs", 0) == len(curve), (trial.number, curve)


def check_done(database: Path, total: int) -> None:
    """Fail unless there are exactly so many trials, all finished, and nothing is left.

    Left could be a checkpoint, or a lock that someone holds.
    """
    check_sound(database)
    check_whole(trials(database), total)
    assert not list(database.parent.glob("*.checkpoints/*"))
    check_unlocked(database)


def check_unlocked(database: Path) -> None:
    """Fail if someone holds the study, by our lock or by SQLite's."""
    with study_lock(str(database), timeout=5) as held:
        assert held
    with closing(sqlite3.connect(database, timeout=5)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()


def cut_trials(database: Path, killed: list[int]) -> list[int]:
    """Numbers of the trials that processes were training when they were killed."""
    return [
        trial.number
        for trial in trials(database)
        if trial.state == TrialState.RUNNING and process_of(trial) in killed
    ]


def process_of(trial: FrozenTrial) -> int:
    """The number of the process that trains a trial, or that did."""
    return int(trial.user_attrs.get("worker", "::0").split(":")[-2] or 0)


def workers(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The search's workers."""
    return [
        child for child in descendants(process) if "spawn_main" in " ".join(_command_line(child))
    ]


def _command_line(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def kill_parent(process: subprocess.Popen[str], timeout: float = 30) -> None:
    """SIGKILL to the search alone; fails unless its workers end by themselves."""
    children = descendants(process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()  # until the last child has closed its end
    _, alive = psutil.wait_procs(children, timeout=timeout)
    assert alive == [], "orphans"


def descendants(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The search's own child processes."""
    return psutil.Process(process.pid).children(recursive=True)
