"""Candidates of the default space, and the check of its limits, as tests call them."""

from __future__ import annotations

from typing import Any

import optuna
from optuna.trial import BaseTrial

from search.architecture.candidate import LayeredCandidate
from search.architecture.feasibility import simplest_start
from search.architecture.limits import Limits
from search.architecture.spaces import Space, read_space
from search.data.problem import MNIST, MNIST_PROBLEM, Problem
from search.study.attributes import OVER_BUDGET
from search.study.recording import record_candidate
from space import suggest


def draw(
    trial: BaseTrial,
    max_params: int = 20_000,
    max_macs: int | None = None,
    *,
    classes: int = 10,
    handwriting: bool = True,
) -> LayeredCandidate:
    """What the space draws for digits, or for other images."""
    problem = Problem(name=MNIST if handwriting else "other", classes=classes)
    return suggest(trial, problem, Limits(max_params=max_params, max_macs=max_macs))


def space_of(max_params: int = 20_000, max_macs: int | None = None) -> Space:
    """The default space below some limits."""
    limits = Limits(max_params=max_params, max_macs=max_macs)
    return Space(file=read_space(), problem=MNIST_PROBLEM, limits=limits)


def simplest(max_params: int = 20_000) -> dict[str, Any]:
    """The parameters of the space's simplest candidate."""
    return simplest_start(space_of(max_params))


def gate(trial: optuna.Trial, candidate: LayeredCandidate, limits: Limits) -> None:
    """Record a candidate, and prune one that is over a limit, as an objective does."""
    record_candidate(trial, candidate, candidate.to_json(), candidate.costs(), limits)
    if OVER_BUDGET.of(trial):
        raise optuna.TrialPruned
