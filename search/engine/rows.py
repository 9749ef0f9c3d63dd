"""Optuna's tables read and written as plain rows: the same result in a fraction of the time.

Optuna makes an object of every row and looks a trial up before each of its values is written. Of
a trial with 25 parameters and 20 reports that is most of what a worker computes beside training
(figures in docs/cluster.md).
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, distribution_to_json, json_to_distribution
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import ColumnElement, select
from sqlalchemy.dialects import mysql, postgresql
from sqlalchemy.orm import Session

distribution_of = lru_cache(maxsize=4096)(json_to_distribution)
Value = models.TrialValueModel
Report = models.TrialIntermediateValueModel
_TRIALS: Any = models.TrialModel.__table__
_HEADS = select(
    *(_TRIALS.c[name] for name in ("trial_id", "number", "state")),
    *(_TRIALS.c[name] for name in ("datetime_start", "datetime_complete")),
)


@dataclass(frozen=True)
class Writes:
    """What is to be written to one running trial."""

    params: dict[str, tuple[float, BaseDistribution]] = field(default_factory=dict)
    user_attrs: dict[str, Any] = field(default_factory=dict)
    system_attrs: dict[str, Any] = field(default_factory=dict)
    reports: dict[int, float] = field(default_factory=dict)  # by step


def write(session: Session, trial_id: int, writes: Writes) -> None:
    """Write to a running trial; what is there already under the same names is replaced.

    Raises:
        KeyError: If there is no such trial.
        optuna.exceptions.UpdateFinishedTrialError: If it is finished.
    """
    trial: Any = models.TrialModel
    state = session.execute(select(trial.state).where(trial.trial_id == trial_id)).scalar()
    if state is None:
        raise KeyError(models.NOT_FOUND_MSG)
    if state.is_finished():
        raise optuna.exceptions.UpdateFinishedTrialError(f"trial {trial_id} is finished")
    params = [
        {"param_name": name, "param_value": value, "distribution_json": distribution_to_json(kind)}
        for name, (value, kind) in writes.params.items()
    ]
    reports = []
    for step, value in writes.reports.items():
        stored, kind = Report.intermediate_value_to_stored_repr(value)
        reports.append(
            {"step": step, "intermediate_value": stored, "intermediate_value_type": kind}
        )
    for model, key, rows in (
        (models.TrialParamModel, "param_name", params),
        (models.TrialUserAttributeModel, "key", _attributes(writes.user_attrs)),
        (models.TrialSystemAttributeModel, "key", _attributes(writes.system_attrs)),
        (Report, "step", reports),
    ):
        _put(session, model, key, [{"trial_id": trial_id, **row} for row in rows])


def _attributes(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    # Copied at once: a heartbeat may add one from its thread at this moment.
    return [{"key": key, "value_json": json.dumps(value)} for key, value in list(values.items())]


def _put(session: Session, model: Any, key: str, rows: list[dict[str, Any]]) -> None:
    """Insert rows, or replace those of the same trial and key."""
    if not rows:
        return
    others = [name for name in rows[0] if name not in ("trial_id", key)]
    if session.get_bind().dialect.name in ("mysql", "mariadb"):
        there = mysql.insert(model.__table__).values(rows)
        session.execute(
            there.on_duplicate_key_update({name: there.inserted[name] for name in others})
        )
        return
    put = postgresql.insert(model.__table__).values(rows)
    session.execute(
        put.on_conflict_do_update(
            index_elements=["trial_id", key], set_={name: put.excluded[name] for name in others}
        )
    )


def read(session: Session, wanted: ColumnElement[bool]) -> list[FrozenTrial]:
    """Trials in the order of their ids.

    Args:
        session: Of the storage.
        wanted: A condition on ``models.TrialModel``.
    """
    trial: Any = models.TrialModel

    def of_trials(model: Any, *columns: Any) -> dict[int, list[Any]]:
        query = select(model.trial_id, *columns).join(trial, trial.trial_id == model.trial_id)
        found = defaultdict(list)
        for trial_id, *row in session.execute(query.where(wanted)):
            found[trial_id].append(row)
        return found

    rows = session.execute(_HEADS.where(wanted).order_by(trial.trial_id)).all()
    if not rows:
        return []
    param, user, system = (
        models.TrialParamModel,
        models.TrialUserAttributeModel,
        models.TrialSystemAttributeModel,
    )
    params = of_trials(
        param, param.param_id, param.param_name, param.param_value, param.distribution_json
    )
    values = of_trials(Value, Value.objective, Value.value, Value.value_type)
    user_attrs = of_trials(user, user.key, user.value_json)
    system_attrs = of_trials(system, system.key, system.value_json)
    reports = of_trials(
        Report, Report.step, Report.intermediate_value, Report.intermediate_value_type
    )
    return [
        _trial(
            *row,
            params=sorted(params[row.trial_id]),
            values=[Value.stored_repr_to_value(*one) for _, *one in sorted(values[row.trial_id])],
            user_attrs=user_attrs[row.trial_id],
            system_attrs=system_attrs[row.trial_id],
            reports=reports[row.trial_id],
        )
        for row in rows
    ]


def _trial(
    trial_id: int,
    number: int,
    state: TrialState,
    start: datetime | None,
    complete: datetime | None,
    *,
    params: Iterable[tuple[int, str, float, str]] = (),
    values: list[float] | None = None,
    user_attrs: Iterable[tuple[str, str]] = (),
    system_attrs: Iterable[tuple[str, str]] = (),
    reports: Iterable[tuple[int, float | None, Any]] = (),
) -> FrozenTrial:
    drawn = [(name, distribution_of(text), value) for _, name, value, text in params]
    return FrozenTrial(
        trial_id=trial_id,
        number=number,
        state=state,
        value=None,
        values=values or None,
        datetime_start=_local(start),
        datetime_complete=_local(complete),
        params={name: kind.to_external_repr(value) for name, kind, value in drawn},
        distributions={name: kind for name, kind, _ in drawn},
        user_attrs={key: json.loads(text) for key, text in user_attrs},
        system_attrs={key: json.loads(text) for key, text in system_attrs},
        intermediate_values={
            step: Report.stored_repr_to_intermediate_value(value, kind)
            for step, value, kind in reports
        },
    )


def _local(time: datetime | None) -> datetime | None:
    """The tables hold times of UTC, Optuna gives local ones, both without saying so."""
    return time and time.replace(tzinfo=UTC).astimezone().replace(tzinfo=None)


def outlines(session: Session, wanted: ColumnElement[bool]) -> list[FrozenTrial]:
    """Trials with number, state and times alone: nothing that was drawn, reported or noted."""
    return [_trial(*row) for row in session.execute(_HEADS.where(wanted))]


def first_distribution(session: Session, trial_id: int, name: str) -> BaseDistribution | None:
    """What a parameter was drawn from before in a trial's study, or None."""
    trial: Any = models.TrialModel
    param: Any = models.TrialParamModel
    study = select(trial.study_id).where(trial.trial_id == trial_id).scalar_subquery()
    query = select(param.distribution_json).join(trial, trial.trial_id == param.trial_id)
    text = session.execute(
        query.where(trial.study_id == study, param.param_name == name).limit(1)
    ).scalar()
    return distribution_of(text) if text is not None else None
