"""Fills a study with finished trials as a search leaves them, fast, for benchmarks."""

from __future__ import annotations

import json
import random
from datetime import datetime
from functools import cache
from typing import Any

import optuna
import sqlalchemy
from optuna.distributions import distribution_to_json
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState, create_trial

from objective import Limits, check_limits, draw
from search.engine.problem import MNIST_PROBLEM
from search.engine.storage import RECORDED, connect, create_study

SPACE = Limits()  # what candidates are drawn for
LIMITS = Limits(max_params=10**9)  # so that none ends before its first epoch
EPOCHS = 20
DRAWN = 200  # different candidates; the values differ in every trial
BATCH = 500


@cache
def _candidates() -> list[FrozenTrial]:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(DRAWN):
        trial = study.ask()
        check_limits(trial, draw(trial, SPACE, MNIST_PROBLEM), LIMITS)
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


def fill(storage: str, study: str, size: int) -> None:
    """Add so many finished trials to a study that holds none, in few statements."""
    opened = connect(storage)
    study_id = opened.get_study_id_from_name(study)
    for first in range(0, size, BATCH):
        trials = [finished_trial(number) for number in range(first, min(first + BATCH, size))]
        with opened.engine.begin() as connection:
            _insert(connection, study_id, first, trials)
    opened.engine.dispose()


def _insert(
    connection: sqlalchemy.Connection, study_id: int, first: int, trials: list[FrozenTrial]
) -> None:
    now = datetime.now()
    table = models.TrialModel
    heads = [
        {
            "number": first + at,
            "study_id": study_id,
            "state": TrialState.COMPLETE,
            "datetime_start": now,
            "datetime_complete": now,
        }
        for at in range(len(trials))
    ]
    statement = sqlalchemy.insert(table).returning(table.trial_id, sort_by_parameter_order=True)
    ids = connection.execute(statement, heads).scalars().all()
    rows: dict[Any, list[dict[str, Any]]] = {}
    for trial_id, trial in zip(ids, trials, strict=True):
        for model, row in _rows(trial):
            rows.setdefault(model, []).append({"trial_id": trial_id, **row})
    for model, found in rows.items():
        connection.execute(sqlalchemy.insert(model), found)


def _rows(trial: FrozenTrial) -> list[tuple[Any, dict[str, Any]]]:
    finite = models.TrialValueModel.TrialValueType.FINITE
    stepped = models.TrialIntermediateValueModel.TrialIntermediateValueType.FINITE
    found: list[tuple[Any, dict[str, Any]]] = [
        (models.TrialValueModel, {"objective": 0, "value": trial.value, "value_type": finite})
    ]
    for name, distribution in trial.distributions.items():
        param = {
            "param_name": name,
            "param_value": distribution.to_internal_repr(trial.params[name]),
            "distribution_json": distribution_to_json(distribution),
        }
        found.append((models.TrialParamModel, param))
    for step, reported in trial.intermediate_values.items():
        value = {"step": step, "intermediate_value": reported, "intermediate_value_type": stepped}
        found.append((models.TrialIntermediateValueModel, value))
    for key, attribute in trial.user_attrs.items():
        user = {"key": key, "value_json": json.dumps(attribute)}
        found.append((models.TrialUserAttributeModel, user))
    for key, attribute in trial.system_attrs.items():
        system = {"key": key, "value_json": json.dumps(attribute)}
        found.append((models.TrialSystemAttributeModel, system))
    return found
