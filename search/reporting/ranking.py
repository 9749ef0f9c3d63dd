"""Ranks valid architectures: places, ties within the noise, the Pareto front, the verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from search.candidates.costs import LayerRow
from search.reporting.architectures import architectures
from search.reporting.candidates import Description, describe, layers_of
from search.reporting.constraints import Check, constraint_checks
from search.reporting.intervals import Interval, mean_interval, wilson
from search.reporting.records import StudyLimits, TrialRecord


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One valid architecture with its place."""

    rank: int
    tie: int  # rank of the first of those from which it cannot be told apart
    tied: bool  # whether another entry has the same number
    on_front: bool  # no other entry is both as small and more accurate
    trial: TrialRecord  # the first of its seeds
    seeds: tuple[TrialRecord, ...]  # all trials of this architecture
    accuracy: float  # mean of its seeds
    balanced: float | None  # balanced accuracy, likewise; None of even classes
    expected: float  # of another seed: what it is ranked by
    parameters: int
    interval: Interval | None  # None where the number of validation images is not recorded
    over_seeds: Interval | None  # of the mean of its seeds on these images; None of a single one
    description: Description
    checks: tuple[Check, ...]
    layers: tuple[LayerRow, ...]  # empty where the candidate cannot be read

    @property
    def passes_all(self) -> bool:
        """Whether every constraint is known to be met."""
        return all(check.passed for check in self.checks)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the target was met, and by whom; candidates of users do not count: not found."""

    met: bool | None  # by the best; None: there is no valid architecture to judge, or no target
    certain: bool  # the whole interval of the best lies at or above the target
    best: Entry | None
    reaching: int | None  # how many valid architectures reach the target; None without one


def rank(valid: Sequence[TrialRecord], limits: StudyLimits) -> tuple[Entry, ...]:
    """Rank valid trials by architecture; mark ties and the front of accuracy and parameters."""
    entries: list[Entry] = []
    smallest = None  # of the entries so far: a later one is on the front only if it is smaller
    for place, one in enumerate(architectures(valid), start=1):
        trial, accuracy = one.first, one.mean
        parameters = trial.parameters or 0
        images = limits.validation_images
        description = describe(trial)
        entry = Entry(
            rank=place,
            tie=place,
            tied=False,
            on_front=smallest is None or parameters < smallest,
            trial=trial,
            seeds=one.seeds,
            accuracy=accuracy,
            balanced=one.balanced,
            expected=one.expected,
            parameters=parameters,
            interval=wilson(accuracy, images) if images else None,
            over_seeds=mean_interval(one.values),
            description=description,
            checks=constraint_checks(replace(trial, accuracy=accuracy), description, limits),
            layers=tuple(layers_of(trial.candidate, trial.layers)),
        )
        smallest = parameters if smallest is None else min(smallest, parameters)
        entries.append(entry)
    ties = _ties(entries)
    sizes = Counter(ties)
    return tuple(
        replace(entry, tie=tie, tied=sizes[tie] > 1)
        for entry, tie in zip(entries, ties, strict=True)
    )


def judge(entries: Sequence[Entry], limits: StudyLimits) -> Verdict:
    """Whether a valid architecture that the search found reaches the target."""
    found = [entry for entry in entries if entry.trial.is_found]
    best = found[0] if found else None
    if limits.target is None:
        return Verdict(met=None, certain=False, best=best, reaching=None)
    if best is None:
        return Verdict(met=None, certain=False, best=None, reaching=0)
    reaching = sum(entry.accuracy >= limits.target for entry in found)
    certain = best.interval is not None and best.interval.low >= limits.target
    met = best.accuracy >= limits.target
    return Verdict(met=met, certain=certain, best=best, reaching=reaching)


def _ties(entries: Sequence[Entry]) -> list[int]:
    """For each entry the rank of the first of its tie.

    A tie has all down to the last one whose interval the first's is not wholly above: one that has
    had few seeds may stand below another and yet have the higher mean.
    """
    reach: list[float] = []  # the highest end of an interval from an entry on
    for entry in reversed(entries):
        high = entry.interval.high if entry.interval else entry.accuracy
        reach.append(max([high, *reach[-1:]]))
    reach.reverse()
    ties: list[int] = []
    first = 0
    for at in range(len(entries)):
        of = entries[first]
        if reach[at] < (of.interval.low if of.interval else of.accuracy):
            first = at
        ties.append(entries[first].rank)
    return ties
