"""Parameters that were drawn from one space, as another one has them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search.common.values import number

Ranges = Mapping[str, BaseDistribution]


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """Parameters in the ranges of a space."""

    params: Mapping[str, Any]  # every one that the space draws
    added: tuple[str, ...] = ()  # names that they lacked, with the space's default now
    dropped: tuple[str, ...] = ()  # names that the space does not draw
    moved: tuple[str, ...] = ()  # names of numbers that were outside, and are at the nearest now
    lost: tuple[str, ...] = ()  # names of choices that the space does not have


def fit(params: Mapping[str, Any], ranges: Ranges, defaults: Mapping[str, Any]) -> Fitted:
    """Bring parameters into the ranges of a space.

    Args:
        params: Drawn from another space.
        ranges: What this one draws.
        defaults: What of it has a default that its file names, by parameter.
    """
    fitted: dict[str, Any] = {}
    added: list[str] = []
    moved: list[str] = []
    lost: list[str] = []
    for name, kind in ranges.items():
        if name not in params:
            fitted[name] = nearest(defaults[name], kind) if name in defaults else default_of(kind)
            added.append(name)
            continue
        fitted[name] = nearest(params[name], kind)
        if not _is_same(fitted[name], params[name]):
            is_choice = isinstance(kind, CategoricalDistribution) or number(params[name]) is None
            (lost if is_choice else moved).append(name)
    return Fitted(
        params=fitted,
        added=tuple(added),
        dropped=tuple(name for name in params if name not in ranges),
        moved=tuple(moved),
        lost=tuple(lost),
    )


def default_of(kind: BaseDistribution) -> Any:
    """What a trial is taken to have had of a parameter that was not drawn then.

    The first of choices; zero where a range begins there, as what is off; the low end of whole
    numbers; the middle of the others.
    """
    if isinstance(kind, CategoricalDistribution):
        return kind.choices[0]
    if isinstance(kind, IntDistribution) or (isinstance(kind, FloatDistribution) and not kind.low):
        return kind.low
    assert isinstance(kind, FloatDistribution)
    return (kind.low * kind.high) ** 0.5 if kind.log else (kind.low + kind.high) / 2


def nearest(value: Any, kind: BaseDistribution) -> Any:
    """A value of a range: the given one if it is in it, else the one that is nearest.

    Of choices that do not have it the first.
    """
    if isinstance(kind, CategoricalDistribution):
        same = [choice for choice in kind.choices if _is_same(choice, value)]
        return same[0] if same else kind.choices[0]
    assert isinstance(kind, FloatDistribution | IntDistribution)
    found = number(value)
    if found is None:  # a text where there are numbers now
        return default_of(kind)
    within = min(max(found, kind.low), kind.high)
    if kind.step is not None:
        within = kind.low + round((within - kind.low) / kind.step) * kind.step
        within = min(max(within, kind.low), kind.high)
    return round(within) if isinstance(kind, IntDistribution) else float(within)


def in_range(kind: BaseDistribution) -> str:
    """A range in words."""
    if isinstance(kind, CategoricalDistribution):
        return "one of " + ", ".join(map(str, kind.choices))
    assert isinstance(kind, FloatDistribution | IntDistribution)
    step = "" if kind.step in (None, 1) else f" in steps of {kind.step}"
    return f"from {_shown(kind.low)} to {_shown(kind.high)}{step}"


def _is_same(one: Any, other: Any) -> bool:
    """Whether two values are one: 3 and 3.0 are, True and 1 are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
