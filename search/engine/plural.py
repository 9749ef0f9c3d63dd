"""A number with its noun, in the singular where there is one."""

from __future__ import annotations


def counted(number: int, noun: str) -> str:
    """``1 epoch``, ``20 epochs``, ``1,200 images``, ``2 classes``."""
    if number == 1:
        return f"1 {noun}"
    return f"{number:,} {noun}{'es' if noun.endswith('s') else 's'}"
