"""Whether any network of the space is within the limits, and which one a search starts with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import optuna
from optuna.distributions import FloatDistribution, IntDistribution

import space
from objective import Limits
from search.candidates import suggest
from search.common.errors import UserError
from search.data.problem import Problem
from search.study.settings import distributions, simplest_start

DRAWS = 100  # at random, where neither of the likely ones is within the limits: half a second

Params = dict[str, Any]
Cost = tuple[int, int]  # parameters and multiply-accumulates


def first_candidate(limits: Limits, problem: Problem) -> Params:
    """What a search starts with, as parameters to enqueue: the simplest that is within the limits.

    One feasible trial at the start shows the sampler that there is room.
    """
    within = (params for params, cost in _draws(limits, problem) if _excess(cost, limits) <= 0)
    return next(within, simplest_start(limits.max_params, problem))


def refuse_unreachable(limits: Limits, problem: Problem) -> None:
    """Refuse limits that no network of the space meets: every trial would be over budget.

    Raises:
        UserError: If neither the space's simplest candidates nor any of those drawn at random do;
            says the smallest of these.
    """
    found: list[Cost] = []
    for _, cost in _draws(limits, problem):
        if _excess(cost, limits) <= 0:
            return
        found.append(cost)
    if not found:
        return  # each trial tells why
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


def _draws(limits: Limits, problem: Problem) -> Iterator[tuple[Params, Cost]]:
    """Candidates of the space with what they cost: the likely smallest first, then any."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    starts = [simplest_start(limits.max_params, problem)]
    starts.append({**starts[0], **_low_ends(limits.max_params, problem)})
    for start in starts:
        study.enqueue_trial(start)
    for _ in range(len(starts) + DRAWS):
        trial = study.ask()
        with contextlib.suppress(ValueError):  # a draw that is no network
            candidate = suggest(trial, limits, problem)
            yield trial.params, (space.count_parameters(candidate), space.count_macs(candidate))


def _low_ends(max_params: int, problem: Problem) -> Params:
    return {
        name: distribution.low
        for name, distribution in distributions(max_params, problem).items()
        if isinstance(distribution, FloatDistribution | IntDistribution)
    }
