"""Where the small drawings in the tables' rows put their marks: an interval, a finalist's seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from search.reporting.finalists import Finalists
from search.reporting.intervals import Interval
from search.reporting.leaderboard import Summary
from search.reporting.ranking import Entry

STRIP_WIDTH = 120  # of the drawing of an interval, in its own units
SEEDS_WIDTH = 180  # of the drawing of a finalist's seeds


@dataclass(frozen=True, kw_only=True)
class Strip:
    """Where an accuracy, its interval and a target lie on one row's small drawing."""

    low: float
    middle: float
    high: float
    target: float | None


def strips_of(shown: Sequence[Entry], summary: Summary) -> dict[str, Strip]:
    """The drawings of all rows that have an interval, on one common scale, by trial."""
    spans = {e.trial.name: e.interval for e in shown if e.interval is not None}
    if not spans:
        return {}
    lows = sorted(span.low for span in spans.values())
    target = summary.limits.target
    left, right = lows[len(lows) // 10], max(span.high for span in spans.values())
    if target is not None:  # an outlier may be cut off
        left, right = min(left, target - 0.002), max(right, target)

    def at(share: float) -> float:
        place = (share - left) / (right - left or 1.0)
        return round(4 + (STRIP_WIDTH - 8) * min(1.0, max(0.0, place)), 1)

    return {
        entry.trial.name: Strip(
            low=at(entry.interval.low),
            middle=at(entry.accuracy),
            high=at(entry.interval.high),
            target=None if target is None else at(target),
        )
        for entry in shown
        if entry.interval is not None
    }


@dataclass(frozen=True, kw_only=True)
class Seeds:
    """Where a finalist's seeds, their mean with its interval, and a target lie on a drawing."""

    runs: tuple[float, ...]
    mean: float
    span: tuple[float, float] | None
    target: float | None


def seeds_of(finalists: Finalists) -> dict[int, Seeds]:
    """The drawings of all finalists, on one common scale, by place."""
    values = [run.accuracy for entry in finalists.entries for run in entry.runs]
    values += [bound for e in finalists.entries if e.interval for bound in _bounds(e.interval)]
    target = finalists.target
    values += [] if target is None else [target]
    left, right = min(values), max(values)

    def at(share: float) -> float:
        return round(4 + (SEEDS_WIDTH - 8) * (share - left) / (right - left or 1.0), 1)

    return {
        entry.place: Seeds(
            runs=tuple(at(run.accuracy) for run in entry.runs),
            mean=at(entry.mean),
            span=(at(entry.interval.low), at(entry.interval.high)) if entry.interval else None,
            target=None if target is None else at(target),
        )
        for entry in finalists.entries
    }


def _bounds(interval: Interval) -> tuple[float, float]:
    return interval.low, interval.high
