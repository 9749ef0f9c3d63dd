"""Valid architectures with all of their seeds, best first.

Trials of one candidate are seeds of one architecture. They are ranked by what another seed of each
is expected to give: the mean of its seeds, drawn towards the middle of all, the more the fewer it
has had (``search.study.sampling.belief``). So a single lucky training does not stand above a mean
of many. Of equal ones the smaller comes first, then the earlier trial.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from search.reporting.constraints import why_not_valid
from search.reporting.finalists import mean_of
from search.reporting.records import StudyLimits, TrialRecord, read_trials
from search.study.sampling.belief import posteriors


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """One valid architecture."""

    seeds: tuple[TrialRecord, ...]  # its trials, by number
    expected: float  # accuracy of another seed

    @property
    def first(self) -> TrialRecord:
        """The trial that stands for it."""
        return self.seeds[0]

    @property
    def mean(self) -> float:
        """Mean accuracy of its seeds."""
        return statistics.fmean(self.values)

    @property
    def balanced(self) -> float | None:
        """Mean balanced accuracy of its seeds; None of even classes."""
        return mean_of(trial.balanced_accuracy for trial in self.seeds)

    @property
    def values(self) -> tuple[float, ...]:
        """Accuracy of each seed."""
        return tuple(trial.accuracy or 0.0 for trial in self.seeds)


def architectures(valid: Iterable[TrialRecord]) -> list[Architecture]:
    """Valid trials as architectures, best first."""
    groups: dict[tuple[object, ...], list[TrialRecord]] = {}
    for trial in sorted(valid, key=lambda trial: trial.number):
        alone = trial.by_user or trial.is_reference or not trial.candidate
        # What is drawn is written as its parameters, which make another network under other limits.
        drawn = (trial.candidate, trial.parameters, trial.macs)
        key = (trial.by_user, trial.number) if alone else drawn
        groups.setdefault(key, []).append(trial)
    values = [[trial.accuracy or 0.0 for trial in seeds] for seeds in groups.values()]
    found = [
        of for of, seeds in zip(values, groups.values(), strict=True) if not seeds[0].by_user
    ]  # as finalists.py sees them, which does not know of users' candidates
    ranked = [
        Architecture(seeds=tuple(seeds), expected=belief.expected)
        for seeds, belief in zip(groups.values(), posteriors(values, found), strict=True)
    ]
    return sorted(ranked, key=_order)


def valid_architectures(trials: Iterable[FrozenTrial], limits: StudyLimits) -> list[Architecture]:
    """A study's architectures that the leaderboard ranks, in its order."""
    complete = [trial for trial in trials if trial.state == TrialState.COMPLETE]
    records = read_trials(complete, limits)
    return architectures([record for record in records if not why_not_valid(record, limits)])


def _order(one: Architecture) -> tuple[float, int, bool, int]:
    trial = one.first
    return -one.expected, trial.parameters or 0, trial.by_user, trial.number


def listed(values: Sequence[float]) -> str:
    """Accuracies one by one: ``99.51, 99.62 %``."""
    return ", ".join(f"{100 * value:.2f}" for value in values) + " %"
