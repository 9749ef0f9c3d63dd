"""What was drawn from another or an older space, drawn again from this one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler
from optuna.storages import InMemoryStorage
from optuna.study import Study, StudyDirection
from optuna.trial import BaseTrial, FrozenTrial

from search.common.values import number

if TYPE_CHECKING:
    from collections.abc import Callable

    from search.candidates.candidate import AnyCandidate

Params = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Refitted:
    """Parameters as a space asks for them, which may depend on their values."""

    params: Params  # every one that it asked for
    ranges: Mapping[str, BaseDistribution]  # of these
    candidate: AnyCandidate | None  # what it made of them; None where it raised
    added: tuple[str, ...] = ()  # names that were not given, and have a default now
    dropped: tuple[str, ...] = ()  # names that it did not ask for
    moved: tuple[str, ...] = ()  # names of numbers that were outside, and are at the nearest now
    lost: tuple[str, ...] = ()  # names of choices that the space does not have

    @property
    def outside(self) -> tuple[str, ...]:
        """What could not stay as it was."""
        return self.moved + self.lost


def study_in_memory(sampler: BaseSampler) -> Study:
    """A study for draws that nobody keeps, without the line that Optuna logs of a new one."""
    storage, study = storage_in_memory([StudyDirection.MAXIMIZE])
    name = storage.get_study_name_from_id(study)
    return optuna.load_study(study_name=name, storage=storage, sampler=sampler)


def storage_in_memory(directions: Sequence[StudyDirection]) -> tuple[InMemoryStorage, int]:
    """A storage with an empty study, and that study's number; nothing is logged of it."""
    storage, verbosity = InMemoryStorage(), optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(verbosity, optuna.logging.WARNING))
    try:
        return storage, storage.create_new_study(directions)
    finally:
        optuna.logging.set_verbosity(verbosity)


def refit(
    params: Params, defaults: Params, suggest: Callable[[BaseTrial], AnyCandidate]
) -> Refitted:
    """Have a space draw given parameters.

    Args:
        params: As another space drew them.
        defaults: Of parameters that were not given, by name; the others have ``default_of``.
        suggest: Draws a candidate from a trial.

    Raises:
        Exception: What ``suggest`` raises after it was given what it asked for is kept back: there
            is then no candidate. ValueError where a default is outside its range.
    """
    trial = study_in_memory(_Given(params, defaults)).ask()
    candidate = None
    with suppress(Exception):  # of a space's own
        candidate = suggest(trial)
    asked, ranges = trial.params, trial.distributions
    changed = [name for name in asked if name in params and not is_same(asked[name], params[name])]
    added = tuple(name for name in asked if name not in params)
    for name in added:
        if name in defaults and not is_same(asked[name], defaults[name]):
            raise ValueError(
                f"the default {defaults[name]!r} of {name} is not {in_range(ranges[name])}"
            )
    lost = tuple(name for name in changed if _is_choice(params[name], ranges[name]))
    return Refitted(
        params=asked,
        ranges=ranges,
        candidate=candidate,
        added=added,
        dropped=tuple(name for name in params if name not in asked),
        moved=tuple(name for name in changed if name not in lost),
        lost=lost,
    )


class _Given(BaseSampler):
    """Draws what is given, or what is nearest to it, and defaults beside."""

    def __init__(self, params: Params, defaults: Params) -> None:
        self._params, self._defaults = params, defaults

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Nothing is drawn together."""
        return {}

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing."""
        return {}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """One parameter."""
        for known in (self._params, self._defaults):
            if param_name in known:
                return nearest(known[param_name], param_distribution)
        return default_of(param_distribution)


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
    middle = (kind.low * kind.high) ** 0.5 if kind.log else (kind.low + kind.high) / 2
    return nearest(middle, kind)


def nearest(value: Any, kind: BaseDistribution) -> Any:
    """A value of a range: the given one if it is in it, else the one that is nearest.

    Of choices that do not have it the first.
    """
    if isinstance(kind, CategoricalDistribution):
        same = [choice for choice in kind.choices if is_same(choice, value)]
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


def is_same(one: Any, other: Any) -> bool:
    """Whether two values are one: 3 and 3.0 are, True and 1 are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _is_choice(value: Any, kind: BaseDistribution) -> bool:
    return isinstance(kind, CategoricalDistribution) or number(value) is None


def _shown(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
