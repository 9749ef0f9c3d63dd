"""Owners: a process that lives, sleeps, is gone, or runs where it cannot be seen."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil
import pytest

from search.common.process_id import BOOT, is_here, machine_name, process_id, runs_here

NAME_ITSELF = (
    "from search.common.process_id import process_id as n; print(n(), flush=True); input()"
)


def test_a_process_is_told_from_a_later_one_of_its_number() -> None:
    machine, number, started = process_id().rsplit(":", 2)
    assert (machine, int(number)) == (machine_name(), os.getpid())
    assert runs_here(process_id())
    ticks, boot = started.split("@")
    assert not runs_here(f"{machine}:{number}:{int(ticks) - 1}@{boot}")
    assert not runs_here(f"{machine}:{number}:{ticks}@00000000"), "of an earlier boot"


@pytest.mark.skipif(not BOOT.exists(), reason="elsewhere a start is told by the clock")
@pytest.mark.parametrize("step", [-3600.0, -1.0, 1.0, 3600.0])
def test_a_step_of_the_wall_clock_kills_nobody(
    monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    """What psutil takes a process's start from moves with the clock, and is not asked."""
    name = process_id()
    start = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda self: start(self) + step)
    assert runs_here(name)
    assert process_id() == name


def test_the_owner_of_an_earlier_version_is_read() -> None:
    """It had the start in seconds since 1970; it may differ by a small step of the clock."""
    machine, number, _ = process_id().rsplit(":", 2)
    started = psutil.Process().create_time()
    assert runs_here(f"{machine}:{number}:{started:.2f}")
    assert runs_here(f"{machine}:{number}:{started + 1.0:.2f}")
    assert not runs_here(f"{machine}:{number}:{started - 60:.2f}")
    assert not runs_here(f"{machine}:1:1.0")


@pytest.mark.processes
def test_a_suspended_process_lives_and_a_killed_one_does_not() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", NAME_ITSELF],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        name = process.stdout.readline().strip()
        psutil.Process(process.pid).suspend()
        assert is_here(name)
        assert runs_here(name)
        process.kill()
        psutil.wait_procs([psutil.Process(process.pid)], timeout=10)
        assert not runs_here(name)


def test_other_machines_and_containers_are_elsewhere() -> None:
    assert not is_here("some-other-host/12345678:1:1.0")
    host = machine_name().split("/")[0]
    assert not is_here(f"{host}/00000000:{os.getpid()}:1.0")


def test_what_is_no_owner_is_nobody() -> None:
    garbage = ("x:y", "9:9", f"{'9' * 5000}:1.0", f"{2**70}:1.0", "-1:1.0", "1:nan", "1:1e400")
    ours = [f"{machine_name()}:{rest}" for rest in garbage]
    for owner in (None, "", "../../mine", 7, ["x"], *ours):
        assert is_here(owner)
        assert not runs_here(owner)
