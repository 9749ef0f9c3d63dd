"""A sampler for trainings that luck plays a part in: it races, searches near the best, and far.

    optuna.create_study(direction="maximize", sampler=RacingSampler())

A later trial is one of three: another seed of a candidate that may be the best; one of the best
with a single thing changed; or what TPE proposes. Works in any study of one objective.
"""

from __future__ import annotations

import copy
import math
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.search_space import intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.study.sampling.belief import Posterior, posteriors
from search.study.sampling.seeds import by_candidate

STEP = 0.2  # of a changed number, standard deviation, as a share of its range
TRIES = 20  # for a change that was not trained before
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)

Params = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A candidate and all of its trainings so far."""

    first: FrozenTrial  # its parameters are the others' too
    values: tuple[float, ...]  # one a seed, turned round where small is good
    posterior: Posterior


class RacingSampler(BaseSampler):
    """Races the best candidates, changes them by one thing, and asks TPE in between.

    - **Race**: a trial with the parameters of an earlier one is another seed of it. Which one is
      drawn by top-two Thompson sampling (Russo 2020, doi 10.1287/opre.2019.1911): a plausible
      value of each candidate is drawn, and the best of them is taken, or, every other time, the
      best of another draw in which it is not first. So seeds go where they may change the winner.
    - **Local**: the parent is drawn likewise. A whole number moves by one, a choice becomes
      another, and a continuous number moves by a fifth of its range (standard deviation).
    - **Global**: TPE, told each candidate once, with its expected value in place of one seed's.

    Args:
        seed: Of all draws; None draws one.
        race: Share of the later trials that are seeds of earlier ones.
        local: Share of the others that are changes of the best.
        n_startup_trials: So many are drawn at random first, and all by TPE until so many candidates
            are complete.

    Raises:
        ValueError: When asked for a study of several objectives.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        race: float = 0.4,
        local: float = 0.5,
        n_startup_trials: int = 10,
    ) -> None:
        self._draw = random.Random(seed)
        self._race, self._local, self._startup = race, local, n_startup_trials
        self._random = RandomSampler(seed=self._draw.getrandbits(32))
        self._tpe = TPESampler(seed=self._draw.getrandbits(32), n_startup_trials=1)
        self._plan: Params = {}  # what the trial that begins shall be

    def reseed_rng(self) -> None:
        """Draw anew from now on, where several processes began with one seed."""
        self._draw.seed()
        self._random.reseed_rng()
        self._tpe.reseed_rng()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Decide what the trial shall be; its parameters but for those that TPE knows not."""
        if len(study.directions) > 1:
            raise ValueError("RacingSampler is for studies of one objective")
        self._plan = {}
        trials = study.get_trials(deepcopy=False)
        if sum(one.state in ENDED for one in trials) < self._startup:
            return {}
        found = trained(trials, study.direction)
        many = len(found) >= self._startup  # or what is over a limit would be tried near the few
        if many and self._draw.random() < self._race:
            chosen = self._contender(found).first
            self._plan = chosen.params
            return dict(chosen.distributions)
        if many and self._draw.random() < self._local:
            parent = self._contender(found).first
            self._plan = self._changed(parent, [one.params for one in trials])
            return dict(parent.distributions)
        drawn = [one for one in trials if one.params]
        space = intersection_search_space(drawn, include_pruned=not found)
        self._plan = merged(trials, found, study.direction, self._tpe).ask(space).params
        return space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters that were decided on."""
        return dict(self._plan)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A parameter that is not drawn with others: at random."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    def _contender(self, found: Sequence[Trained]) -> Trained:
        """One that may be the best, by top-two Thompson sampling."""
        first = self._plausible_best(found)
        if self._draw.random() < 0.5:
            for _ in range(TRIES):
                second = self._plausible_best(found)
                if second is not first:
                    return second
        return first

    def _plausible_best(self, found: Sequence[Trained]) -> Trained:
        draws = [self._draw.gauss(o.posterior.expected, o.posterior.deviation) for o in found]
        return found[draws.index(max(draws))]

    def _changed(self, parent: FrozenTrial, known: Sequence[Params]) -> Params:
        """The parent's parameters but for one, such as no trial has had."""
        names = [name for name, kind in parent.distributions.items() if not kind.single()]
        changed = parent.params
        for _ in range(TRIES if names else 0):
            name = self._draw.choice(names)
            moved = self._moved(parent.params[name], parent.distributions[name])
            changed = {**parent.params, name: moved}
            if changed not in known:
                break
        return changed

    def _moved(self, value: Any, kind: BaseDistribution) -> Any:
        """Another value of a parameter, near the one that it has."""
        if isinstance(kind, CategoricalDistribution):
            return self._draw.choice([other for other in kind.choices if other != value])
        if isinstance(kind, IntDistribution) and not kind.log:
            below, above = value - kind.step, value + kind.step
            return self._draw.choice([v for v in (below, above) if kind.low <= v <= kind.high])
        assert isinstance(kind, FloatDistribution | IntDistribution)
        low, high = (math.log(end) if kind.log else end for end in (kind.low, kind.high))
        at = math.log(value) if kind.log else value
        reached = at + self._draw.gauss(0, STEP) * (high - low)
        while not low <= reached <= high:
            reached = at + self._draw.gauss(0, STEP) * (high - low)
        moved = math.exp(reached) if kind.log else reached
        if kind.step is not None:
            moved = kind.low + round((moved - kind.low) / kind.step) * kind.step
        moved = min(max(moved, kind.low), kind.high)
        return round(moved) if isinstance(kind, IntDistribution) else moved


def trained(trials: Sequence[FrozenTrial], direction: StudyDirection) -> list[Trained]:
    """The candidates that have been trained to the end, in the order of their first trials.

    Trials with the same parameters are seeds of one candidate.

    Args:
        trials: Of a study of one objective.
        direction: Its.
    """
    sign = _sign(direction)
    complete = [
        trial
        for trial in trials
        if trial.state == TrialState.COMPLETE and trial.params and math.isfinite(trial.value or 0)
    ]
    groups = by_candidate(complete)
    values = [tuple(sign * (trial.value or 0.0) for trial in seeds) for seeds in groups]
    return [
        Trained(first=seeds[0], values=of, posterior=posterior)
        for seeds, of, posterior in zip(groups, values, posteriors(values), strict=True)
    ]


def merged(
    trials: Sequence[FrozenTrial],
    found: Sequence[Trained],
    direction: StudyDirection,
    sampler: BaseSampler,
) -> Study:
    """A study in memory that has each candidate once, with its expected value.

    Args:
        trials: Of the study; those that are not complete are taken as they are.
        found: The candidates that are.
        direction: The study's.
        sampler: That it has.
    """
    sign = _sign(direction)
    with _quiet():
        study = optuna.create_study(direction=direction, sampler=sampler)
    expected = {one.first.number: sign * one.posterior.expected for one in found}
    for trial in trials:
        if trial.number in expected:
            trial = copy.copy(trial)
            trial.value = expected[trial.number]
        elif trial.state in (TrialState.COMPLETE, TrialState.FAIL):
            continue
        study.add_trial(trial)
    return study


def _sign(direction: StudyDirection) -> int:
    return -1 if direction == StudyDirection.MINIMIZE else 1


@contextmanager
def _quiet() -> Iterator[None]:
    """Without Optuna's line for each study that is made."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(max(before, optuna.logging.WARNING))
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
