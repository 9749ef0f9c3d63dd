"""How much memory there is for images, so that too large a set is refused before it is decoded."""

from __future__ import annotations

from pathlib import Path

import psutil

from search.common.errors import UserError

CGROUPS = Path("/sys/fs/cgroup")


def available() -> int:
    """Bytes that can still be had: the machine's or, where that is less, this control group's."""
    return min([int(psutil.virtual_memory().available), *_left_in_groups()])


def _left_in_groups() -> list[int]:
    """What the limits of this process's control groups leave; none where nothing is limited."""
    try:
        lines = Path("/proc/self/cgroup").read_text().splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers not in ("", "memory"):
            continue
        top = CGROUPS / controllers
        place = top / path.lstrip("/")
        limit, used = (
            ("memory.limit_in_bytes", "memory.usage_in_bytes")
            if controllers
            else ("memory.max", "memory.current")
        )
        for group in (place, *place.parents):  # any of those above may have one, too
            left = _left(group, limit, used)
            found += [] if left is None else [left]
            if group == top:
                break
    return found


def _left(group: Path, limit: str, used: str) -> int | None:
    try:
        most = (group / limit).read_text().strip()
        if not most.isdecimal():  # "max"
            return None
        now = int((group / used).read_text())
        counted = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        cached = counted.get("total_inactive_file", counted.get("inactive_file", "0"))
        return max(0, int(most) - now + int(cached))  # files' pages give way
    except (OSError, ValueError):
        return None


def require(nbytes: int, copies: int, what: str, hint: str = "") -> None:
    """Refuse images that do not fit into memory.

    Args:
        nbytes: Of one copy.
        copies: How many are held at once.
        what: Whose copies, in words: ``the 60,000 images of x for each of 4 workers``.
        hint: What else would help.

    Raises:
        UserError: If they need more than there is.
    """
    there = available()
    if nbytes * copies > there:
        times = f" ({nbytes:,} bytes {copies:,} times)" if copies > 1 else ""
        raise UserError(
            f"{what} take {nbytes * copies:,} bytes{times}, but only {there:,} bytes of memory are "
            "free",
            f"{hint}Give a smaller --image-size or fewer images",
        )
