"""Worker processes: they hold no study, no socket, no password, and end with their parent."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState

from search.study.judge import Task
from search.study.storages.opening import open_study
from search.workers.local import LocalWorkers
from search.workers.messages import Begun, Died, EpochDone, Event, Ready, Stopped, Trained
from tests.faults.processes import finish, start, trials, wait_for, workers
from tests.helpers.no_data import NO_DATA
from tests.workers.stand_ins import Deadly, Make, Training

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]


def heard(pool: LocalWorkers) -> Iterator[Event]:
    """What is told, for at most a minute."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for _, event in pool.events(0.5):
            yield event
    raise AssertionError("nothing more was told")


def until(told: Iterator[Event], kind: type[Event]) -> list[Event]:
    """What is told, up to the first event of a kind."""
    found = [next(told)]
    while not isinstance(found[-1], kind):
        found.append(next(told))
    return found


def test_a_worker_trains_what_it_is_given_and_stops_when_told(tmp_path: Path) -> None:
    pool = LocalWorkers(Make(Training, tmp_path, 3, 0.0), NO_DATA, 1)
    told = heard(pool)
    try:
        until(told, Ready)
        pool.give(0, [Task(number=7, seed=0, candidate="", state=b"1")])
        events = until(told, Trained)
        assert [type(event) for event in events] == [Begun, EpochDone, EpochDone, Trained]
        until(told, Ready)
        pool.stop(0, 7)  # late: it must not end the next one
        pool.give(0, [Task(number=8, seed=0, candidate="")])
        assert len(until(told, Trained)) == 5
    finally:
        pool.close()
    slow = LocalWorkers(Make(Training, tmp_path, 3, 60.0), NO_DATA, 1)
    told = heard(slow)
    try:
        until(told, Ready)
        slow.give(0, [Task(number=9, seed=0, candidate="")])
        until(told, Begun)
        slow.stop(0, 9)
        assert isinstance(until(told, Stopped)[-1], Stopped)
    finally:
        slow.close()


def test_a_dead_worker_is_told_of_and_replaced(tmp_path: Path) -> None:
    pool = LocalWorkers(Make(Deadly, tmp_path), NO_DATA, 1)
    told = heard(pool)
    try:
        until(told, Ready)
        pool.give(0, [Task(number=0, seed=0, candidate="")])
        died = until(told, Died)[-1]
        assert isinstance(died, Died)
        assert "by SIGKILL" in died.how
        until(told, Ready)
    finally:
        pool.close()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_worker_holds_no_study_no_socket_and_no_password(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSWORD", "hunter2")
    database = tmp_path / "study.db"
    process = start(command, "--trials", "2", "--workers", "2", "--epochs", "5000")
    try:
        wait_for(lambda: sum(bool(t.intermediate_values) for t in trials(database)) == 2, process)
        assert os.path.realpath(database) in _files(psutil.Process(process.pid))
        found = workers(process)
        assert len(found) == 2
        for worker in found:
            held = _files(worker)
            assert not [name for name in held if name.startswith(str(tmp_path))], held
            assert worker.net_connections(kind="inet") == []
            assert sum(name.startswith("socket:") for name in held) == 1, "its pipe to the parent"
            assert not any("sqlalchemy" in file.path for file in worker.memory_maps())
            environment = Path(f"/proc/{worker.pid}/environ").read_bytes()
            assert b"hunter2" not in environment
            assert str(database) not in " ".join(worker.cmdline())
    finally:
        process.terminate()
        finish(process)
    study = open_study(str(database))
    assert [trial.state for trial in study.trials] == [TrialState.WAITING] * 2


def _files(process: psutil.Process) -> list[str]:
    """What a process has open, its sockets included."""
    links = Path(f"/proc/{process.pid}/fd").iterdir()
    return [os.readlink(link) for link in links if os.path.lexists(link)]


def test_a_workers_objective_needs_no_database_driver() -> None:
    """What is not imported cannot be opened."""
    program = (
        "import sys\n"
        "import search.workers.local, search.workers.training, objective\n"
        "names = ('sqlalchemy', 'optuna_dashboard', 'sklearn', 'ray', 'psycopg')\n"
        "print([name for name in names if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
