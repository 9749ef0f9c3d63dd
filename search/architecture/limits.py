"""What a candidate may cost, known before anything is built."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that a candidate may cost."""

    max_params: int = 20_000  # trainable parameters; exactly so many are allowed
    max_macs: int | None = None  # multiply-accumulates of one image; None = no limit


def excess(count: int, limit: int) -> float:
    """How far over a limit a count is, as a share of it; far over it is all the same."""
    return min(count, limit * 10**9) / limit - 1
