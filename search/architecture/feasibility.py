"""What a space draws, and whether any of it is within the limits."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
    distribution_to_json,
)

from search.architecture.limits import Limits
from search.architecture.spaces import Space
from search.common.errors import UserError

DRAWS = 100  # at random, where neither of the likely ones is within the limits: 0.5 to 5 seconds

Params = dict[str, Any]
Cost = tuple[int, int]  # parameters and multiply-accumulates


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Every parameter that a space draws, with its range."""
    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    space.suggest(trial)
    return trial.distributions


def describe_space(space: Space) -> dict[str, str]:
    """Every parameter of a space with its range, as text: equal for equal spaces."""
    return {
        name: json.dumps(json.loads(distribution_to_json(distribution)))
        for name, distribution in distributions(space).items()
    }


def simplest_start(space: Space) -> Params:
    """A space's simplest candidate, as parameters to enqueue.

    One feasible trial at the start shows the sampler that there is room within the limit. Whole
    numbers are at their low end, for few and narrow layers, and what is continuous is in the
    middle: at an end it would teach the sampler to stay away from there because the network is
    poor.
    """
    start: Params = {}
    for name, distribution in distributions(space).items():
        if isinstance(distribution, CategoricalDistribution):
            start[name] = distribution.choices[0]
        elif isinstance(distribution, IntDistribution):
            start[name] = distribution.low
        elif isinstance(distribution, FloatDistribution):
            low, high = distribution.low, distribution.high
            start[name] = math.sqrt(low * high) if distribution.log else (low + high) / 2
    return start


def first_candidate(space: Space) -> Params:
    """What a search starts with, as parameters to enqueue: the simplest that is within the limits.

    One feasible trial at the start shows the sampler that there is room.
    """
    within = (params for params, cost in _draws(space) if _excess(cost, space.limits) <= 0)
    return next(within, simplest_start(space))


def refuse_unreachable(space: Space) -> None:
    """Refuse limits that no network of the space meets: every trial would be over budget.

    Raises:
        UserError: If neither the space's simplest candidates nor any of those drawn at random do;
            says the smallest of these. Or if the space raises whatever is drawn.
    """
    limits = space.limits
    found: list[Cost] = []
    for _, cost in _draws(space):
        if _excess(cost, limits) <= 0:
            return
        found.append(cost)
    parameters, macs = min(found, key=lambda cost: (_excess(cost, limits), cost))
    asked, needed, options = [], [], []
    if parameters > limits.max_params:
        asked.append(f"{limits.max_params:,} parameters")
        needed.append(f"{parameters:,}")
        options.append(f"--max-params {parameters}")
    if limits.max_macs is not None and macs > limits.max_macs:
        asked.append(f"{limits.max_macs:,} multiply-accumulates")
        needed.append(f"{macs:,}")
        options.append(f"--max-macs {macs}")
    raise UserError(
        f"no network of the space was found with at most {' and '.join(asked)}: "
        f"the smallest has {' and '.join(needed)}",
        f"Give {' '.join(options)} or more",
    )


def _excess(cost: Cost, limits: Limits) -> Fraction:
    """How far a cost is over the limit that it exceeds most; at most 0 within both."""
    return max(
        Fraction(count, limit) - 1
        for count, limit in zip(cost, (limits.max_params, limits.max_macs), strict=True)
        if limit is not None
    )


def _draws(space: Space) -> Iterator[tuple[Params, Cost]]:
    """Candidates of the space with what they cost: the likely smallest first, then any.

    Raises:
        UserError: If the space raises whatever is drawn.
    """
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    starts = [simplest_start(space)]
    starts.append({**starts[0], **_low_ends(space)})
    for start in starts:
        study.enqueue_trial(start)
    error, any_drawn = None, False
    for _ in range(len(starts) + DRAWS):
        trial = study.ask()
        try:
            costs = space.costs(space.suggest(trial))
        except (UserError, optuna.TrialPruned) as raised:  # a draw that is no network
            error = raised
            continue
        any_drawn = True
        yield trial.params, (costs.parameters, costs.macs)
    if error and not any_drawn:
        raise error


def _low_ends(space: Space) -> Params:
    return {
        name: distribution.low
        for name, distribution in distributions(space).items()
        if isinstance(distribution, FloatDistribution | IntDistribution)
    }
