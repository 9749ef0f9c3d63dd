"""Names the process that runs a trial, and tells whether it still lives."""

from __future__ import annotations

import hashlib
import os
import socket
from functools import cache
from pathlib import Path


@cache
def machine_name() -> str:
    """The name of what this process's number is unique in: a machine, or a container on it.

    Host names alone are not enough: cloned machines and containers may share one, and a process
    of another would then be looked for here and taken for dead.
    """
    parts = []
    try:
        parts.append(Path("/etc/machine-id").read_text().strip())
    except OSError:
        parts.append("")
    try:
        parts.append(os.readlink("/proc/self/ns/pid"))
    except OSError:
        parts.append("")
    return f"{socket.gethostname()}/{hashlib.sha256('/'.join(parts).encode()).hexdigest()[:8]}"


def owner_name() -> str:
    """This process's name in the trials that it runs: machine, process and its start time.

    The start time tells it from a later process of the same number.
    """
    import psutil

    return f"{machine_name()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def is_here(owner: object) -> bool:
    """Whether an owner's process could be seen from here.

    A trial is marked with its owner under the lock that also starts it, so one without an owner
    was cut in between and needs no look elsewhere.
    """
    if not isinstance(owner, str) or owner.count(":") < 2:
        return True
    return owner.rsplit(":", 2)[0] == machine_name()


def process_number(owner: object) -> int:
    """The number of an owner's process, or -1 of what is no owner."""
    parts = owner.rsplit(":", 2) if isinstance(owner, str) else []
    return int(parts[1]) if len(parts) == 3 and parts[1].isdecimal() else -1


def runs_here(owner: object) -> bool:
    """Whether an owner is a process of this machine that still runs; a suspended one does."""
    import psutil

    if not isinstance(owner, str) or not is_here(owner):
        return False
    try:
        _, process, started = owner.rsplit(":", 2)
        found = psutil.Process(int(process))
        return abs(found.create_time() - float(started)) < 1.0 and (
            found.status() != psutil.STATUS_ZOMBIE
        )
    except (psutil.NoSuchProcess, ValueError):
        return False
