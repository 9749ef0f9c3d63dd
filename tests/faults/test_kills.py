"""Kill anything, any time: finished trials stay, cut ones go on, the total is exact."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from search.data.sources import locate
from search.finals.repeating import recorded, settings_of_trial
from search.reproduce import repeated_curve
from search.study.storages.opening import open_study
from tests.faults.processes import (
    check_done,
    check_sound,
    check_unlocked,
    finish,
    finished_records,
    kill_group,
    kill_parent,
    start,
    started,
    trials,
    wait_for,
    workers,
)

pytestmark = pytest.mark.processes

BUSY = (  # all that is drawn is trained
    *("--workers", "2", "--pruner", "none", "--epochs", "8", "--seed", "3"),
    *("--max-params", "200000"),
)


def test_a_worker_the_parent_and_all_are_killed_at_random_moments(
    command: list[str], tmp_path: Path
) -> None:
    moment = random.Random(1)
    database = tmp_path / "study.db"
    kept: dict[int, object] = {}
    process = start(command, "--trials", "6", *BUSY)
    for victim in ("worker", "parent", "all"):
        before = started(database)
        wait_for(lambda seen=before: started(database) > seen, process)  # type: ignore[misc]
        time.sleep(moment.uniform(0, 2))
        if victim == "worker":
            moment.choice(workers(process)).kill()
        elif victim == "parent":
            kill_parent(process)
        else:
            kill_group(process)
        check_sound(database)
        now = finished_records(database)
        assert {number: now[number] for number in kept} == kept
        kept = dict(now)
        if victim != "worker":
            process = start(command, "--trials", "6", *BUSY)
    code, _, err = finish(process)
    assert code == 0, err
    check_done(database, 6)
    now = finished_records(database)
    assert {number: now[number] for number in kept} == kept


def test_workers_end_with_a_parent_that_is_killed(command: list[str], tmp_path: Path) -> None:
    process = start(command, "--trials", "2", *BUSY, "--epochs", "5000")
    database = tmp_path / "study.db"
    wait_for(lambda: sum(bool(t.intermediate_values) for t in trials(database)) == 2, process)
    kill_parent(process)
    check_unlocked(database)


def test_a_cut_trial_goes_on_from_its_last_epoch(
    command: list[str], tmp_path: Path, data: Path
) -> None:
    arguments = ("--trials", "1", "--workers", "1", "--pruner", "none", "--epochs", "60")
    database = tmp_path / "study.db"
    process = start(command, *arguments)
    wait_for(lambda: any(len(t.intermediate_values) >= 5 for t in trials(database)), process)
    kill_group(process)
    before = max(trials(database)[0].intermediate_values)
    code, _, err = finish(start(command, *arguments))
    assert code == 0, err
    (trial,) = trials(database)
    assert trial.user_attrs["resumed_after_epoch"] >= before
    check_done(database, 1)
    study = open_study(str(database))
    again = recorded(study, trial.number)
    uncut = repeated_curve(again, settings_of_trial(again, study, locate(data)))
    assert len(uncut) == 60
    assert trial.intermediate_values == uncut, "equal bits"


def test_a_second_signal_stops_at_once(command: list[str], tmp_path: Path) -> None:
    process = start(command, "--trials", "2", *BUSY, "--epochs", "5000")
    wait_for(lambda: len(trials(tmp_path / "study.db")) >= 2, process)
    children = workers(process)
    for child in children:
        child.suspend()  # a worker that does not answer
    os.kill(process.pid, signal.SIGTERM)
    time.sleep(0.5)
    started = time.monotonic()
    os.kill(process.pid, signal.SIGINT)
    code, _, _ = finish(process, timeout=20)
    # the second may come when all is done but the end: then it is Python's own, by default
    assert code in (128 + signal.SIGTERM, 128 + signal.SIGINT, -signal.SIGINT)
    assert time.monotonic() - started < 10
    assert not any(child.is_running() for child in children)


def test_two_commands_share_the_work(command: list[str], tmp_path: Path) -> None:
    """Both create the study and hand out its queue: what they do at once is all of it."""
    database = tmp_path / "study.db"
    both = [start(command, "--trials", "8", *BUSY, "--epochs", "15") for _ in range(2)]
    for process in both:
        code, _, err = finish(process)
        assert code == 0, err
        assert err == ""
    check_done(database, 8)
    found = trials(database)
    assert len(found) == 8
    assert sum("label" in trial.user_attrs for trial in found) == 1, "the queue, handed out once"
    assert len({trial.user_attrs["worker"] for trial in found}) >= 3
