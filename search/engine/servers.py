"""Optuna's storage on a database server that may restart in mid-run.

Nothing that a server committed is lost or done twice when it restarts:

- What is written to a running trial can be written again, so that is done.
- What depends on what was read before, such as who takes which trial, happens under the study's
  lock. The lock ends with its connection, so a section that lost it is begun anew (``LockLost``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import ColumnElement
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from search.engine import rows
from search.engine.patience import LockLost, connect_arguments, held, is_alive, patience_of

Result = TypeVar("Result")
Trial = models.TrialModel
LEAVES = (  # the methods that are one transaction each and may be done again
    *("set_study_user_attr", "set_study_system_attr", "get_study_id_from_name"),
    *("get_study_name_from_id", "get_study_directions", "get_study_user_attrs"),
    *("get_study_system_attrs", "get_all_studies", "_set_trial_param"),
    *("get_trial_id_from_study_id_trial_number", "_get_best_trial_id"),
    *("get_trial_user_attrs", "get_trial_system_attrs"),
)


class PatientStorage(RDBStorage):
    """Optuna's storage on a server that may restart.

    Args:
        url: Of SQLAlchemy.
    """

    def __init__(self, url: str) -> None:
        self.server = url
        self.patience = patience_of(url)
        braces = url.replace("{", "{{").replace("}", "}}")  # Optuna fills in a template
        super().__init__(
            braces,
            engine_kwargs={
                "pool_pre_ping": True,
                "pool_size": 1,  # a worker's; its heartbeat seldom needs one of its own
                "max_overflow": 4,
                "connect_args": connect_arguments(make_url(url)),
            },
        )
        self.scoped_session.remove()  # what the constructor used
        self.scoped_session.configure(expire_on_commit=False)  # each is closed after one commit
        sqlalchemy.event.listen(self.engine, "do_connect", self._before_connecting)

    def _before_connecting(self, *_: object) -> None:
        """While the lock is held no connection is replaced silently: it may have ended as well."""
        if self.server in held and not is_alive(held[self.server]):
            raise LockLost

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """As Optuna's; done again after a lost connection it is no error that it was done."""
        attempts = 0

        def attempt() -> bool:
            nonlocal attempts
            attempts += 1
            try:
                return RDBStorage.set_trial_state_values(self, trial_id, state, values)
            except optuna.exceptions.UpdateFinishedTrialError:
                ended = RDBStorage.get_trial(self, trial_id) if attempts > 1 else None
                if ended and ended.state == state and ended.values == (values and list(values)):
                    return True
                raise

        return self.patience.keep(attempt, self.server)

    def _once(self, action: Callable[[Session], Result]) -> Result:
        """Do something in one transaction; again where the connection was lost."""

        def attempt() -> Result:
            with _create_scoped_session(self.scoped_session) as session:
                return action(session)

        return self.patience.keep(attempt, self.server)

    def get_trial(self, trial_id: int) -> FrozenTrial:
        """As Optuna's."""
        found = self._once(lambda session: rows.read(session, Trial.trial_id == trial_id))
        if not found:
            raise KeyError(models.NOT_FOUND_MSG)
        return found[0]

    def _get_trials(
        self,
        study_id: int,
        states: Container[TrialState] | None,
        included_trial_ids: set[int],
        trial_id_greater_than: int,
    ) -> list[FrozenTrial]:
        wanted = _some(study_id, included_trial_ids, trial_id_greater_than)
        if states is not None:
            wanted &= Trial.state.in_([state for state in TrialState if state in states])

        def read(session: Session) -> list[FrozenTrial]:
            models.StudyModel.find_or_raise_by_id(study_id, session)
            return rows.read(session, wanted)

        return self._once(read)

    def outlines(self, study_id: int, trial_ids: Collection[int], above: int) -> list[FrozenTrial]:
        """Some of a study's trials and all beyond an id, without what they hold."""
        wanted = _some(study_id, trial_ids, above)
        return self._once(lambda session: rows.outlines(session, wanted))

    def first_distribution(self, trial_id: int, name: str) -> BaseDistribution | None:
        """What a parameter was drawn from before in a trial's study, or None."""
        return self._once(lambda session: rows.first_distribution(session, trial_id, name))

    def write(self, writes: Mapping[int, rows.Writes]) -> None:
        """Write to running trials, by their ids, in one transaction."""

        def write_all(session: Session) -> None:
            for trial_id, of_trial in writes.items():
                rows.write(session, trial_id, of_trial)

        self._once(write_all)

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """As Optuna's."""
        self.write({trial_id: rows.Writes(reports={step: intermediate_value})})

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        self.write({trial_id: rows.Writes(user_attrs={key: value})})

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        self.write({trial_id: rows.Writes(system_attrs={key: value})})


def _some(study_id: int, trial_ids: Collection[int], above: int) -> ColumnElement[bool]:
    wanted: ColumnElement[bool] = Trial.study_id == study_id
    if above > -1:
        below = [trial_id for trial_id in trial_ids if trial_id <= above]
        wanted &= sqlalchemy.or_(Trial.trial_id.in_(below), Trial.trial_id > above)
    return wanted


def _patient(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def patient(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:
        return self.patience.keep(lambda: method(self, *args, **kwargs), self.server)

    return patient


for _name in LEAVES:
    setattr(PatientStorage, _name, _patient(getattr(RDBStorage, _name)))
