"""A search whose processes are stopped or killed, as by Ctrl-C: nothing is lost."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import psutil
import pytest
from optuna.trial import TrialState

from tests.faults.processes import check_whole, start
from tests.helpers.commands import load, trials_so_far, wait_until

pytestmark = pytest.mark.processes


def group_alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def count_training(tmp_path: Path) -> int:
    return sum(bool(trial.intermediate_values) for trial in trials_so_far(tmp_path))


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all_and_the_same_command_goes_on(
    command: list[str], tmp_path: Path, how: signal.Signals
) -> None:
    process = start(
        command, "--trials", "3", "--epochs", "2000", "--workers", "2", "--pruner", "none"
    )
    wait_until(lambda: count_training(tmp_path) >= 2, process)
    started = time.monotonic()
    os.killpg(process.pid, how)  # as a terminal does: the workers get it too
    out, err = process.communicate(timeout=60)
    assert time.monotonic() - started < 20, "a few seconds on an idle machine"
    assert process.returncode == 128 + how
    assert "Traceback" not in err
    assert "the same command again" in out
    trials = load(tmp_path).trials
    assert [t for t in trials if t.state == TrialState.RUNNING] == []
    waiting = [t for t in trials if t.state == TrialState.WAITING]
    assert len(waiting) == 2
    assert all(t.params and t.intermediate_values for t in waiting)
    wait_until(lambda: not group_alive(process.pid))


def test_a_signal_while_the_workers_start_is_quiet(command: list[str], tmp_path: Path) -> None:
    process = start(command, "--trials", "3", "--epochs", "2000", "--workers", "2")
    wait_until(lambda: bool(psutil.Process(process.pid).children()), process)
    time.sleep(0.3)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert err == ""
    running = [t for t in trials_so_far(tmp_path) if t.state == TrialState.RUNNING]
    assert running == []


def test_a_killed_worker_is_replaced_and_its_trial_goes_on(
    command: list[str], tmp_path: Path
) -> None:
    process = start(
        command, "--trials", "1", "--workers", "1", "--epochs", "60", "--pruner", "none"
    )
    wait_until(lambda: count_training(tmp_path) >= 1, process)
    worker = load(tmp_path).trials[0].user_attrs["worker"]
    os.kill(int(worker.split(":")[1]), signal.SIGKILL)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    trials = load(tmp_path).trials
    check_whole(trials, 1)
    assert trials[0].user_attrs["resumed_after_epoch"] >= 1
    assert trials[0].user_attrs["worker"] != worker
