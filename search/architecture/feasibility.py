"""What a space draws, and whether any of it is within the limits."""

from __future__ import annotations

import contextlib
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

from search.architecture.limits import Limits, demands
from search.architecture.refitting import study_in_memory
from search.architecture.spaces import Space
from search.candidates.costs import Costs
from search.common.errors import UserError

DRAWS = 100  # at random, where neither of the likely ones is within the limits: 0.5 to 5 seconds

Params = dict[str, Any]


def distributions(space: Space) -> dict[str, BaseDistribution]:
    """Every parameter that a space draws, with its range.

    Raises:
        UserError: If the space raises, or draws from choices that no study can record.
    """
    trial = study_in_memory(optuna.samplers.RandomSampler(seed=0)).ask()
    with contextlib.suppress(optuna.TrialPruned):  # this draw alone
        space.suggest(trial)
    for name, kind in trial.distributions.items():
        choices = kind.choices if isinstance(kind, CategoricalDistribution) else ()
        for choice in choices:
            if not isinstance(choice, None | bool | int | float | str):
                raise space.file.error(
                    f"a choice of {name} is {choice!r}, but a study records texts, numbers, True, "
                    "False and None alone",
                    space.file.line,
                )
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
    within = (params for params, costs in _draws(space) if _excess(costs, space.limits) <= 0)
    return next(within, simplest_start(space))


def refuse_unreachable(space: Space) -> None:
    """Refuse limits that no network of the space meets: every trial would be over budget.

    Raises:
        UserError: If neither the space's simplest candidates nor any of those drawn at random do;
            says the smallest of these. Or if the space raises whatever is drawn.
    """
    limits = space.limits
    found: list[Costs] = []
    for _, costs in _draws(space):
        if _excess(costs, limits) <= 0:
            return
        found.append(costs)
    least = min(found, key=lambda costs: (_excess(costs, limits), costs.parameters, costs.macs))
    over = [
        (kind, limit, count)
        for kind, limit, count in demands(limits, least)
        if count is not None and count > limit
    ]
    asked = [kind.words(limit) for kind, limit, _ in over]
    needed = [f"{count:,}" for _, _, count in over]
    options = [f"{kind.option} {count}" for kind, _, count in over]
    raise UserError(
        f"no network of the space was found with at most {' and '.join(asked)}: "
        f"the smallest has {' and '.join(needed)}",
        f"Give {' '.join(options)} or more",
    )


def _excess(costs: Costs, limits: Limits) -> Fraction:
    """How far costs are over the limit that they exceed most; at most 0 within all."""
    return max(Fraction(count or 0, limit) - 1 for _, limit, count in demands(limits, costs))


def _draws(space: Space) -> Iterator[tuple[Params, Costs]]:
    """Candidates of the space with what they cost: the likely smallest first, then any.

    Raises:
        UserError: If the space raises whatever is drawn.
    """
    study = study_in_memory(optuna.samplers.RandomSampler(seed=0))
    starts = [simplest_start(space)]
    starts.append({**starts[0], **_low_ends(space)})
    for start in starts:
        study.enqueue_trial(start)
    error, any_drawn = None, False
    for _ in range(len(starts) + DRAWS):
        trial = study.ask()
        try:
            costs = space.costs(space.suggest(trial))
        except optuna.TrialPruned:
            continue
        except UserError as raised:  # a draw that is no network
            error = raised
            continue
        any_drawn = True
        yield trial.params, costs
    if not any_drawn:
        pruned = "whatever is drawn, suggest raises TrialPruned"
        raise error or space.file.error(pruned, space.file.line)


def _low_ends(space: Space) -> Params:
    return {
        name: distribution.low
        for name, distribution in distributions(space).items()
        if isinstance(distribution, FloatDistribution | IntDistribution)
    }
