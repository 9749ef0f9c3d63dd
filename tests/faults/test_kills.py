"""Kill anything, any time: finished trials stay, cut ones are retried, the total is exact."""

from __future__ import annotations

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest

from tests.faults.processes import (
    check_done,
    check_sound,
    descendants,
    finish,
    finished_records,
    kill_group,
    start,
    trials,
    wait_for,
)

BUSY = ("--workers", "2", "--pruner", "none", "--epochs", "12")


@pytest.mark.parametrize("seed", [1, 2])
def test_everything_is_killed_at_random_moments(
    command: list[str], tmp_path: Path, seed: int
) -> None:
    moment = random.Random(seed)
    database = tmp_path / "study.db"
    kept: dict[int, object] = {}
    for _ in range(3):
        process = start(command, "--trials", "4", *BUSY)
        before = len(trials(database))
        wait_for(lambda seen=before: len(trials(database)) > seen, process)  # type: ignore[misc]
        time.sleep(moment.uniform(0, 3))
        if process.poll() is None:
            kill_group(process)
        check_sound(database)
        now = finished_records(database)
        assert {number: now[number] for number in kept} == kept
        kept = dict(now)
    code, _, err = finish(start(command, "--trials", "4", *BUSY))
    assert code == 0, err
    check_done(database, 4)
    now = finished_records(database)
    assert {number: now[number] for number in kept} == kept
    assert not list(tmp_path.glob("*.checkpoints/*"))


def test_workers_end_when_their_parent_is_killed(command: list[str], tmp_path: Path) -> None:
    process = start(command, "--trials", "2", *BUSY, "--epochs", "5000")
    database = tmp_path / "study.db"
    wait_for(lambda: sum(bool(t.intermediate_values) for t in trials(database)) == 2, process)
    children = descendants(process)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    deadline = time.monotonic() + 15
    while any(child.is_running() for child in children):
        assert time.monotonic() < deadline, "orphans"
        time.sleep(0.1)
    assert [trial.user_attrs.get("reason") for trial in trials(database)[:2]] == ["interrupted"] * 2


def test_a_cut_trial_goes_on_from_its_last_epoch(command: list[str], tmp_path: Path) -> None:
    arguments = ("--trials", "1", "--workers", "1", "--pruner", "none", "--epochs", "100")
    code, _, err = finish(start(command, *arguments))
    assert code == 0, err
    database = tmp_path / "study.db"
    whole = trials(database)[0].intermediate_values
    for file in tmp_path.glob("study.db*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()
    process = start(command, *arguments)
    wait_for(lambda: any(len(t.intermediate_values) >= 5 for t in trials(database)), process)
    kill_group(process)
    code, _, err = finish(start(command, *arguments))
    assert code == 0, err
    cut, again = trials(database)
    assert again.intermediate_values == whole
    assert again.user_attrs["resumed_after_epoch"] >= max(cut.intermediate_values)


def test_a_second_signal_stops_at_once(command: list[str], tmp_path: Path) -> None:
    process = start(command, "--trials", "2", *BUSY, "--epochs", "5000")
    wait_for(lambda: len(trials(tmp_path / "study.db")) >= 2, process)
    children = [c for c in descendants(process) if "spawn_main" in " ".join(c.cmdline())]
    for child in children:
        child.suspend()  # a worker that does not answer
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(0.5)
    started = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    code, _, _ = finish(process, timeout=20)
    assert code == 128 + signal.SIGTERM
    assert time.monotonic() - started < 10
    assert not any(child.is_running() for child in children)


def test_two_commands_share_the_work(command: list[str], tmp_path: Path) -> None:
    database = tmp_path / "study.db"
    first = start(command, "--trials", "12", *BUSY, "--epochs", "40")
    wait_for(lambda: bool(trials(database)), first)
    second = start(command, "--trials", "12", *BUSY, "--epochs", "40")
    for process in (first, second):
        code, _, err = finish(process)
        assert code == 0, err
    check_done(database, 12)
    found = trials(database)
    assert len(found) == 12
    assert sum("label" in trial.user_attrs for trial in found) == 1, "the queue, handed out once"
    assert len({trial.user_attrs["worker"] for trial in found}) >= 3
