"""Trials that are seeds of one candidate: those with the same parameters."""

from __future__ import annotations

from collections.abc import Iterable

from optuna.trial import FrozenTrial


def by_candidate(trials: Iterable[FrozenTrial]) -> list[list[FrozenTrial]]:
    """The trials of each candidate, both in the order of the trials' numbers.

    A trial without parameters, as that of a candidate which was handed in, is for itself.
    """
    found: dict[str, list[FrozenTrial]] = {}
    for trial in sorted(trials, key=lambda trial: trial.number):
        key = repr(sorted(trial.params.items())) if trial.params else str(trial.number)
        found.setdefault(key, []).append(trial)
    return list(found.values())


def first_seeds(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The first trial of each candidate."""
    return [seeds[0] for seeds in by_candidate(trials)]
