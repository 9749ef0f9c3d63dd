"""The searched parameters and their ranges, as seen over all trials of a study."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import FrozenTrial

from search.common.values import number
from search.reporting.candidates import value_text


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One suggested parameter: a numeric range, or choices in their order."""

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False  # integers only
    choices: tuple[str, ...] = ()  # as text; not empty for a categorical parameter

    @property
    def is_ordered(self) -> bool:
        """Whether the values are numbers with an order, so that the range has two ends."""
        return not self.choices

    def position(self, value: object) -> float | None:
        """Where a value lies between the ends, from 0 to 1; None for one that lies nowhere."""
        if self.choices:
            shown = value_text(value)
            if shown not in self.choices:
                return None
            return self.choices.index(shown) / max(1, len(self.choices) - 1)
        finite = number(float(value) if isinstance(value, bool) else value)
        if finite is None or self.high <= self.low or not self.low <= finite <= self.high:
            return None
        if self.log:
            return math.log(finite / self.low) / math.log(self.high / self.low)
        return (finite - self.low) / (self.high - self.low)

    def ends(self) -> tuple[str, str]:
        """The lowest and the highest value, as text."""
        if self.choices:
            return self.choices[0], self.choices[-1]
        return value_text(self.low if not self.whole else int(self.low)), value_text(
            self.high if not self.whole else int(self.high)
        )


def read_dimensions(trials: Iterable[FrozenTrial]) -> tuple[Dimension, ...]:
    """Every parameter that any trial suggested, in order of first appearance.

    A range that differs between trials becomes the hull of them all.
    """
    found: dict[str, Dimension] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            seen = _dimension(name, distribution)
            if seen is not None:
                found[name] = _hull(found[name], seen) if name in found else seen
    return tuple(found.values())


def _dimension(name: str, distribution: object) -> Dimension | None:
    if isinstance(distribution, CategoricalDistribution):
        choices = tuple(value_text(choice) for choice in distribution.choices)
        return Dimension(name=name, choices=choices)
    if isinstance(distribution, IntDistribution | FloatDistribution):
        return Dimension(
            name=name,
            low=float(distribution.low),
            high=float(distribution.high),
            log=distribution.log,
            whole=isinstance(distribution, IntDistribution),
        )
    return None


def _hull(first: Dimension, second: Dimension) -> Dimension:
    if first == second or first.is_ordered != second.is_ordered:
        return first
    if first.choices:
        merged = dict.fromkeys(first.choices + second.choices)
        return Dimension(name=first.name, choices=tuple(merged))
    return Dimension(
        name=first.name,
        low=min(first.low, second.low),
        high=max(first.high, second.high),
        log=first.log and second.log,
        whole=first.whole and second.whole,
    )
