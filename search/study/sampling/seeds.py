"""Trials that are seeds of one candidate.

Those with the same parameters are, and those of which an attribute says so: other parameters may
make the same candidate, as widths that are rounded do.
"""

from __future__ import annotations

from collections.abc import Iterable

from optuna.trial import FrozenTrial

from search.study.attributes import SEED_OF


def by_candidate(trials: Iterable[FrozenTrial]) -> list[list[FrozenTrial]]:
    """The trials of each candidate, both in the order of the trials' numbers.

    A trial without parameters, as that of a candidate which was handed in, is for itself.
    """
    found: dict[str, list[FrozenTrial]] = {}
    keys: dict[int, str] = {}  # by number
    for trial in sorted(trials, key=lambda trial: trial.number):
        key = repr(sorted(trial.params.items())) if trial.params else str(trial.number)
        first = SEED_OF.of(trial)
        key = keys[trial.number] = key if first is None else keys.get(first, key)
        found.setdefault(key, []).append(trial)
    return list(found.values())


def first_seeds(trials: Iterable[FrozenTrial]) -> list[FrozenTrial]:
    """The first trial of each candidate."""
    return [seeds[0] for seeds in by_candidate(trials)]
