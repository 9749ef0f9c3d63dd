"""Names the process that runs a trial, and tells whether it still lives."""

from __future__ import annotations

import hashlib
import os
import re
import socket
from functools import cache
from pathlib import Path

BOOT = Path("/proc/sys/kernel/random/boot_id")  # of Linux
TOLERANCE = 2.0  # seconds that a start may differ where it is computed from the wall clock


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


def process_id() -> str:
    """This process's name in the trials that it runs: machine, process and its start.

    The start tells it from a later process of the same number.
    """
    return f"{machine_name()}:{os.getpid()}:{_start(os.getpid())}"


def _start(process: int) -> str | None:
    """When a process started, in a form to compare; None if it does not run.

    On Linux in clock ticks since the boot, with the boot's name: what psutil gives there is
    computed from the wall clock, and another one after each of its steps.
    """
    if BOOT.exists():
        try:
            fields = Path(f"/proc/{process}/stat").read_bytes().rpartition(b")")[2].split()
        except OSError:
            return None
        dead = fields[0] in (b"Z", b"X")  # field 3 of proc(5), and 22 is the start
        return None if dead else f"{int(fields[19])}@{BOOT.read_text()[:8]}"
    return _start_by_psutil(process)


def _start_by_psutil(process: int) -> str | None:
    """As seconds since 1970: elsewhere, and of ids that an earlier version wrote."""
    import psutil

    try:
        found = psutil.Process(process)
        dead = found.status() == psutil.STATUS_ZOMBIE
        return None if dead else f"{found.create_time():.2f}"
    except psutil.NoSuchProcess:
        return None


def is_here(process: object) -> bool:
    """Whether a process could be seen from here, by its id.

    A trial is marked with its parent under the lock that also starts it, so one without was
    interrupted in between and needs no look elsewhere.
    """
    if not isinstance(process, str) or process.count(":") < 2:
        return True
    return process.rsplit(":", 2)[0] == machine_name()


def process_number(process: object) -> int:
    """The number of a process by its id, or -1 of what is no id."""
    parts = process.rsplit(":", 2) if isinstance(process, str) else []
    return int(parts[1]) if len(parts) == 3 and re.fullmatch("[0-9]{1,9}", parts[1]) else -1


def runs_here(process: object) -> bool:
    """Whether an id is of a process of this machine that still runs; a suspended one does."""
    number = process_number(process)
    if not isinstance(process, str) or not is_here(process) or number < 0:
        return False
    started = process.rsplit(":", 1)[1]
    if not re.fullmatch(r"[0-9]{1,12}\.[0-9]{1,9}", started):
        return started == _start(number)
    found = _start_by_psutil(number)
    return found is not None and abs(float(found) - float(started)) < TOLERANCE
