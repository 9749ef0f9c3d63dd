"""Owners: a process that lives, sleeps, is gone, or runs where it cannot be seen."""

from __future__ import annotations

import os
import subprocess
import sys

import psutil

from search.engine.owners import is_here, machine_name, owner_name, runs_here

NAME_ITSELF = "from search.engine.owners import owner_name as n; print(n(), flush=True); input()"


def test_a_process_is_told_from_a_later_one_of_its_number() -> None:
    machine, number, started = owner_name().rsplit(":", 2)
    assert (machine, int(number)) == (machine_name(), os.getpid())
    assert runs_here(owner_name())
    assert not runs_here(f"{machine}:{number}:{float(started) - 60:.2f}")


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
    for owner in (None, "", "../../mine", 7, f"{machine_name()}:x:y"):
        assert is_here(owner)
        assert not runs_here(owner)
