"""Finalists: architectures retrained on fresh seeds and tested, with what their figures allow.

They stand in a study beside the search's, one complete trial for each seed of a candidate; what is
not usable there is left out. See ``search.study.companions`` for its name.
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from optuna.trial import FrozenTrial, TrialState

from search.common.values import positive, text
from search.reporting.intervals import Interval, mean_interval, paired_test, welch_test
from search.reporting.records import REFERENCE, reference_label
from search.study.attributes import (
    ADJUSTED,
    ARCHITECTURE,
    CANDIDATE,
    KIND,
    LABEL,
    PARAMETERS,
    RANK,
    SEARCH_TRIAL,
    SEED,
    TEST_ACCURACY,
    TEST_BALANCED_ACCURACY,
    TEST_CORRECT,
)

SIGNIFICANT = 0.05  # a p-value below it tells two finalists apart


@dataclass(frozen=True, kw_only=True)
class Run:
    """One training of a finalist, tested once at its last epoch."""

    seed: int
    accuracy: float  # on the test images, in [0, 1]
    correct: int | None  # test images classified rightly
    balanced: float | None = None  # accuracy as the mean over uneven classes


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A finalist against the next one, seed by seed."""

    seeds: int  # that both were trained with
    difference: float  # mean accuracy of the former minus that of the latter
    interval: Interval | None  # 95 %, of the difference; None below two common seeds
    p: float | None  # two-sided paired t test

    @property
    def distinguishable(self) -> bool:
        """Whether the former is better by more than luck explains."""
        return self.p is not None and self.p < SIGNIFICANT and self.difference > 0


@dataclass(frozen=True, kw_only=True)
class Finalist:
    """A candidate with its figures on the test images."""

    place: int  # by mean accuracy on the test images, from 1
    first_trial: int  # the number of its first training: they are queued as validation has them
    label: str
    is_reference: bool
    architecture: str
    parameters: int | None
    search_rank: int | None  # on the leaderboard when it was chosen
    search_trial: int | None
    candidate: str | None  # JSON
    runs: tuple[Run, ...]  # by seed
    mean: float
    balanced: float | None  # mean over seeds of the balanced accuracy; None of even classes
    interval: Interval | None  # 95 %, Student's t over seeds; None of a single seed
    minimum: float
    reaching: int | None  # runs at or above the target; None without one
    adjusted: tuple[str, ...] = ()  # what was trained otherwise than its recipe asks, in words
    against_next: Comparison | None = None  # None for the last

    @property
    def share_reaching(self) -> float | None:
        """Share of the seeds at or above the target; None without one."""
        return None if self.reaching is None else self.reaching / len(self.runs)


@dataclass(frozen=True, kw_only=True)
class Opening:
    """One look at the test images."""

    when: str
    commit: str
    count: int | None  # how often they had been opened for this study by then
    trainings: int | None  # how many were chosen by then


@dataclass(frozen=True, kw_only=True)
class Finalists:
    """All of them, best mean first."""

    target: float | None  # accuracy in [0, 1]
    entries: tuple[Finalist, ...]
    openings: tuple[Opening, ...]
    order: tuple[str, ...] = ()  # candidates as validation has them; empty in older studies

    @property
    def chosen(self) -> Finalist | None:
        """The one that validation put first; None where only references are tested.

        It is the winner whatever the test images say of the others: they choose nothing.
        """
        own = [entry for entry in self.entries if not entry.is_reference]
        places = {candidate: place for place, candidate in enumerate(self.order)}
        return min(
            own,
            key=lambda one: (places.get(one.candidate or "", len(places)), one.first_trial),
            default=None,
        )

    @property
    def met(self) -> bool | None:
        """Whether the chosen one's mean reaches the target; None where either is missing."""
        if self.chosen is None or self.target is None:
            return None
        return self.chosen.mean >= self.target

    @property
    def certain(self) -> bool:
        """Whether its whole interval does."""
        interval = self.chosen.interval if self.chosen else None
        if interval is None or self.target is None:
            return False
        return interval.low >= self.target


def read_finalists(
    trials: Sequence[FrozenTrial],
    openings: object,
    *,
    target: float | None,
    order: Sequence[str] = (),
) -> Finalists | None:
    """The finalists of a study's trials; None if there is none yet.

    Args:
        trials: Of the finalists' study.
        openings: Its attribute ``test set openings``.
        target: Accuracy in [0, 1]; None for none.
        order: Its attribute ``chosen``.
    """
    groups: dict[tuple[object, ...], list[FrozenTrial]] = {}
    for trial in trials:
        if trial.state == TrialState.COMPLETE and _accuracy(trial) is not None:
            key = tuple(of.of(trial) for of in (KIND, LABEL, CANDIDATE))
            groups.setdefault(key, []).append(trial)
    found = [_finalist(group, target) for group in groups.values()]
    if not found:
        return None
    found.sort(key=lambda one: (-one.mean, one.parameters or 0, one.search_rank or 0, one.label))
    placed = [replace(one, place=place) for place, one in enumerate(found, start=1)]
    compared = [
        replace(one, against_next=compare(one.runs, other.runs))
        for one, other in itertools.pairwise(placed)
    ]
    return Finalists(
        target=target,
        entries=(*compared, placed[-1]),
        openings=tuple(_openings(openings)),
        order=tuple(order),
    )


def compare(first: Iterable[Run], second: Iterable[Run]) -> Comparison:
    """Two finalists by the seeds that they have in common."""
    others = {run.seed: run.accuracy for run in second}
    differences = [run.accuracy - others[run.seed] for run in first if run.seed in others]
    p, interval = paired_test(differences)
    return Comparison(
        seeds=len(differences),
        difference=statistics.fmean(differences) if differences else 0.0,
        interval=interval,
        p=p,
    )


def unpaired(first: Sequence[Run], second: Sequence[Run]) -> Comparison:
    """Two finalists that have no seeds in common, by Welch's t test."""
    values = [[run.accuracy for run in runs] for runs in (first, second)]
    p, interval = welch_test(*values)
    return Comparison(
        seeds=min(map(len, values)),
        difference=statistics.fmean(values[0]) - statistics.fmean(values[1]),
        interval=interval,
        p=p,
    )


def _finalist(group: Sequence[FrozenTrial], target: float | None) -> Finalist:
    latest = {SEED.of(t) or 0: t for t in group}  # of one seed the last
    runs = tuple(
        Run(
            seed=seed,
            accuracy=_accuracy(trial) or 0.0,
            correct=TEST_CORRECT.of(trial),
            balanced=TEST_BALANCED_ACCURACY.of(trial),
        )
        for seed, trial in sorted(latest.items())
    )
    values = [run.accuracy for run in runs]
    last = group[-1]
    label = text(LABEL.of(last))
    return Finalist(
        place=0,
        first_trial=min(trial.number for trial in group),
        label=reference_label(label),
        is_reference=KIND.of(last) == "reference" or label.startswith(REFERENCE),
        architecture=ARCHITECTURE.of(last),
        parameters=PARAMETERS.of(last),
        search_rank=RANK.of(last),
        search_trial=SEARCH_TRIAL.of(last),
        candidate=CANDIDATE.of(last),
        runs=runs,
        mean=statistics.fmean(values),
        balanced=mean_of(run.balanced for run in runs),
        interval=mean_interval(values),
        minimum=min(values),
        reaching=None if target is None else sum(value >= target for value in values),
        adjusted=ADJUSTED.of(last),
    )


def mean_of(values: Iterable[float | None]) -> float | None:
    """The mean of values that are all known, else None."""
    known = [value for value in values if value is not None]
    return statistics.fmean(known) if known else None


def _accuracy(trial: FrozenTrial) -> float | None:
    """The test accuracy, or None where it is not a share."""
    value = TEST_ACCURACY.of(trial)
    return value if value is not None and 0.0 <= value <= 1.0 else None


def _openings(recorded: object) -> Iterable[Opening]:
    for item in recorded if isinstance(recorded, list) else []:
        if isinstance(item, Mapping):
            yield Opening(
                when=text(item.get("when")),
                commit=text(item.get("commit")),
                count=positive(item.get("count")),
                trainings=positive(item.get("trainings")),
            )
