"""Candidates of a small space, and the check of its limits, as tests call them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import optuna
from optuna.trial import BaseTrial

from search.architecture.candidate import LayeredCandidate
from search.architecture.feasibility import simplest_start
from search.architecture.limits import Limits
from search.architecture.spaces import Space, read_space
from search.data.problem import MNIST_PROBLEM
from search.study.attributes import OVER_BUDGET
from search.study.recording import record_candidate
from tests.helpers.layered_space import suggest

SPACE = read_space(Path(__file__).with_name("layered_space.py"))


def draw(trial: BaseTrial) -> LayeredCandidate:
    """What the space draws for MNIST."""
    return suggest(trial, MNIST_PROBLEM, Limits())


def space_of(max_params: int = 20_000, max_macs: int | None = None) -> Space:
    """The space below some limits."""
    limits = Limits(max_params=max_params, max_macs=max_macs)
    return Space(file=SPACE, problem=MNIST_PROBLEM, limits=limits)


def simplest() -> dict[str, Any]:
    """The parameters of the space's simplest candidate."""
    return simplest_start(space_of())


def gate(trial: optuna.Trial, candidate: LayeredCandidate, limits: Limits) -> None:
    """Record a candidate, and prune one that is over a limit, as an objective does."""
    record_candidate(trial, candidate, candidate.to_json(), candidate.costs(), limits)
    if OVER_BUDGET.of(trial):
        raise optuna.TrialPruned
