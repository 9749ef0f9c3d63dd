"""A sampler for trainings that luck plays a part in: it models, changes the best, and races.

    optuna.create_study(direction="maximize", sampler=RacingSampler())

A later trial is one of three: another seed of a candidate that may be the best; one of the best
with a single thing changed; or what a Gaussian process proposes. Works in any study of one
objective.
"""

from __future__ import annotations

import bisect
import math
import random
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.search_space import intersection_search_space
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.study.sampling.belief import Posterior, posteriors
from search.study.sampling.seeds import by_candidate
from search.study.sampling.surrogate import changed, propose

TRIES = 20  # for another contender, or a change that was not trained before
MODELLED = 300  # trainings, the best ones: a Gaussian process takes the cube of their number
ENDED = (TrialState.COMPLETE, TrialState.PRUNED)

Params = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A candidate and all of its trainings so far."""

    seeds: tuple[FrozenTrial, ...]  # its trials
    scores: tuple[float, ...]  # one a seed, of which large ones are good
    posterior: Posterior  # of these scores

    @property
    def first(self) -> FrozenTrial:
        """The first of its trials."""
        return self.seeds[0]


class RacingSampler(BaseSampler):
    """Asks a Gaussian process, changes the best by one thing, and races them in between.

    - **Race**: a trial with the parameters of an earlier one is another seed of it. Which one is
      drawn by top-two Thompson sampling (Russo 2020, doi 10.1287/opre.2019.1911): a plausible
      value of each candidate is drawn, and the best of them is taken, or, every other time, the
      best of another draw in which it is not first. So seeds go where they may change the winner.
    - **Local**: the parent is drawn likewise.
    - **Global**: a Gaussian process (``search.study.sampling.surrogate``) that learns from pruned
      trials and from those over a limit too (``told``).

    Args:
        seed: Of all draws; None draws one.
        race: Share of the later trials that are seeds of earlier ones.
        stack: Whoever asks gives a candidate that is drawn for a race so many trials, one after
            the other. So it is drawn the more seldom.
        local: Share of the others that are changes of the best.
        n_startup_trials: So many are drawn at random first. Nothing is raced or changed until so
            many candidates are complete.

    Raises:
        ValueError: When asked for a study of several objectives.
    """

    def __init__(
        self,
        *,
        seed: int | None = None,
        race: float = 0.3,
        local: float = 0.5,
        n_startup_trials: int = 10,
        stack: int = 1,
    ) -> None:
        self._draw = random.Random(seed)
        # The chance c of a draw with which c * stack of c * stack + 1 - c trials are seeds.
        self._race = race / (stack - race * (stack - 1))
        self._local, self._startup = local, n_startup_trials
        self._random = RandomSampler(seed=self._draw.getrandbits(32))
        self._plans: dict[int, Params] = {}  # by number: what the trials that begin shall be

    def reseed_rng(self) -> None:
        """Draw anew from now on, where several processes began with one seed."""
        self._draw.seed()
        self._random.reseed_rng()

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Decide what the trial shall be, but for parameters that not all earlier ones have."""
        if len(study.directions) > 1:
            raise ValueError("RacingSampler is for studies of one objective")
        trials = [one for one in study.get_trials(deepcopy=False) if one.params]
        if sum(one.state in ENDED for one in trials) < self._startup:
            return {}
        found = trained(trials, study.direction)
        many = len(found) >= self._startup  # or what is over a limit would be tried near the few
        if many and self._draw.random() < self._race:
            chosen = self._contender(found).first
            self._plans[trial.number] = chosen.params
            return dict(chosen.distributions)
        if many and self._draw.random() < self._local:
            parent = self._contender(found).first
            for _ in range(TRIES):
                plan = changed(parent.distributions, parent.params, self._draw)
                if all(plan != one.params for one in trials):
                    break
            self._plans[trial.number] = plan
            return dict(parent.distributions)
        space = intersection_search_space(trials, include_pruned=not found)
        known = [
            ({name: params[name] for name in space}, score)
            for params, score in told(trials, found, study.direction)
            if params.keys() >= space.keys()
        ]
        running = [
            one.params
            for one in trials
            if one.state == TrialState.RUNNING and one.params.keys() >= space.keys()
        ]
        if space and known:
            self._plans[trial.number] = propose(space, known, running, self._draw)
        return space

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The parameters that were decided on, as far as they are asked for."""
        plan = self._plans.pop(trial.number, {})
        return {name: value for name, value in plan.items() if name in search_space}

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


def trained(trials: Sequence[FrozenTrial], direction: StudyDirection) -> list[Trained]:
    """The candidates that have been trained to the end, in the order of their first trials.

    What violates a constraint is none of them.

    Args:
        trials: Of a study of one objective.
        direction: Its.
    """
    sign = _sign(direction)
    complete = [
        trial
        for trial in trials
        if trial.state == TrialState.COMPLETE and trial.params and math.isfinite(trial.value or 0)
        if _violation(trial) == 0
    ]
    groups = by_candidate(complete)
    scores = [tuple(sign * (trial.value or 0.0) for trial in seeds) for seeds in groups]
    return [
        Trained(seeds=tuple(seeds), scores=of, posterior=posterior)
        for seeds, of, posterior in zip(groups, scores, posteriors(scores), strict=True)
    ]


def told(
    trials: Sequence[FrozenTrial], found: Sequence[Trained], direction: StudyDirection
) -> list[tuple[Params, float]]:
    """Parameters and scores of all that a model shall learn from; large scores are good.

    A seed of a candidate has its own score, a trial that was pruned in training that of the rank
    which it had among the complete ones when it ended, and one that violates a constraint is below
    all of them, the further the more it does. What is far below the others counts by its logarithm,
    or they would all look alike.

    Args:
        trials: Of a study.
        found: Its candidates.
        direction: Its direction.
    """
    complete = {
        trial.number: (score, trial)
        for one in found
        for score, trial in zip(one.scores, one.seeds, strict=True)
    }
    scores = sorted(score for score, _ in complete.values()) or [0.0]
    span = 2 * (scores[-1] - statistics.median(scores)) or 1.0
    usual = scores[-1] - span

    def tamed(score: float) -> float:
        return score if score >= usual else usual - span * math.log1p((usual - score) / span)

    lowest = tamed(scores[0])
    known: list[tuple[Params, float]] = []
    for trial in trials:
        over = _violation(trial)
        if trial.number in complete:
            score = tamed(complete[trial.number][0])
        elif trial.state in ENDED and over > 0:
            score = lowest - min(over, 1.0) * span
        elif trial.state == TrialState.PRUNED and trial.intermediate_values:
            score = max(lowest, tamed(_by_rank(trial, complete.values(), direction)))
        else:
            continue
        known.append((trial.params, score))
    return sorted(known, key=lambda one: -one[1])[:MODELLED]


def _by_rank(
    pruned: FrozenTrial,
    complete: Iterable[tuple[float, FrozenTrial]],
    direction: StudyDirection,
) -> float:
    """The score of the complete trial that was where a pruned one was when it ended."""
    step = max(pruned.intermediate_values)
    there = [
        (_sign(direction) * trial.intermediate_values[step], score)
        for score, trial in complete
        if step in trial.intermediate_values
    ]
    reached = _sign(direction) * pruned.intermediate_values[step]
    if not there or math.isnan(reached):
        return -math.inf
    scores = sorted(score for _, score in there)
    rank = bisect.bisect_left(sorted(value for value, _ in there), reached)
    return scores[min(rank, len(scores) - 1)]


def _violation(trial: FrozenTrial) -> float:
    """How far a trial is over the constraint that it violates most; 0 if over none."""
    return max([0.0, *trial.constraints.values()])


def _sign(direction: StudyDirection) -> int:
    return -1 if direction == StudyDirection.MINIMIZE else 1
