"""Usable values out of what a study holds, which anyone may have edited: each, or nothing."""

from __future__ import annotations

import math
from typing import Any

LARGEST = 2**63 - 1  # the largest count that is believed: sums and quotients of such are finite


def number(value: object) -> float | None:
    """A finite number, or None for anything else (a bool included)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number that no float holds
        return None


def integer(value: object) -> int | None:
    """A whole number, exactly, or None for anything else."""
    if number(value) is None:
        return None
    whole = int(value)  # type: ignore[call-overload]  # not by way of a float: exactly
    return whole if whole == value and abs(whole) <= LARGEST else None


def natural(value: object) -> int | None:
    """A whole number of at least 0, or None."""
    whole = integer(value)
    return None if whole is None or whole < 0 else whole


def positive(value: object) -> int | None:
    """A whole number of at least 1, or None."""
    return natural(value) or None


def seconds(value: object) -> float | None:
    """A time that a training may take, up to thirty years, or None."""
    finite = number(value)
    return None if finite is None or not 0 <= finite <= 1e9 else finite


def share(value: object) -> float | None:
    """A number from 0 to 1, or None."""
    finite = number(value)
    return None if finite is None or not 0 <= finite <= 1 else finite


def flag(value: object) -> bool | None:
    """True or False, or None for anything else."""
    return value if isinstance(value, bool) else None


def string(value: object) -> str | None:
    """A string as it is, or None for anything else."""
    return value if isinstance(value, str) else None


def text(value: object) -> str:
    """A string on one line without control characters; the empty string for anything else.

    A terminal obeys escape sequences, and a study may come from anywhere.
    """
    if not isinstance(value, str):
        return ""
    return "".join(letter for letter in " ".join(value.split()) if letter.isprintable())


def mapping(value: object) -> dict[str, Any]:
    """An object of JSON; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """A list; an empty one for anything else."""
    return value if isinstance(value, list) else []


def texts(value: object) -> tuple[str, ...]:
    """The texts in a list; none of anything else."""
    return tuple(text(line) for line in items(value) if isinstance(line, str))
