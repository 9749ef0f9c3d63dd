"""Fills a study with finished trials as a search leaves them, for benchmarks."""

from __future__ import annotations

import random
from functools import cache

import optuna
from optuna.trial import FrozenTrial, create_trial

from search.architecture.limits import Limits
from search.data.problem import MNIST_PROBLEM
from search.study.recording import record_candidate
from search.study.storages.opening import RECORDED, create_study
from space import suggest

SPACE = Limits()  # what candidates are drawn for
LIMITS = Limits(max_params=10**9)  # so that none ends before its first epoch
EPOCHS = 20
DRAWN = 200  # different candidates; the values differ in every trial


@cache
def _candidates() -> list[FrozenTrial]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(DRAWN):
        trial = study.ask()
        candidate = suggest(trial, MNIST_PROBLEM, SPACE)
        record_candidate(trial, candidate, candidate.to_json(), candidate.costs(), LIMITS)
    return study.get_trials(deepcopy=False)


def finished_trial(number: int) -> FrozenTrial:
    """A complete trial with everything that a search records but for its note."""
    drawn = _candidates()[number % DRAWN]
    end = random.Random(number).uniform(0.9, 0.995)
    return create_trial(
        value=end,
        params=drawn.params,
        distributions=drawn.distributions,
        user_attrs={**drawn.user_attrs, "worker": "nowhere:1:1", "seed": number, "seconds": 1.0},
        system_attrs=drawn.system_attrs,
        intermediate_values={epoch: end - 0.1 / epoch for epoch in range(1, EPOCHS + 1)},
    )


def new_study(storage: str, name: str) -> optuna.Study:
    """A study that is known as one of this tool, whatever trials are put into it."""
    study = create_study(storage, name)
    study.set_user_attr("settings", dict.fromkeys(RECORDED, {}))
    return study


def fill(study: optuna.Study, size: int) -> None:
    """Add so many finished trials to a study that holds none."""
    study.add_trials([finished_trial(number) for number in range(size)])
