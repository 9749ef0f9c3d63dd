"""Optuna's storage on a database server that may restart in mid-run.

Nothing that a server committed is lost or done twice when it restarts:

- What is written to a running trial can be written again, so that is done.
- What depends on what was read before, such as who takes which trial, happens under the study's
  lock. The lock ends with its connection, so a section that lost it is begun anew (``LockLost``).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Sequence
from typing import Any

import optuna
import sqlalchemy
from optuna.storages import RDBStorage
from optuna.storages._rdb import models
from optuna.storages._rdb.storage import _create_scoped_session
from optuna.trial import TrialState
from sqlalchemy.engine import make_url
from sqlalchemy.orm import Session

from search.engine.patience import LockLost, connect_arguments, held, is_alive, patience_of

LEAVES = (  # the methods that are one transaction each and may be done again
    *("set_study_user_attr", "set_study_system_attr", "get_study_id_from_name"),
    *("get_study_name_from_id", "get_study_directions", "get_study_user_attrs"),
    *("get_study_system_attrs", "get_all_studies", "_set_trial_param"),
    *("get_trial_id_from_study_id_trial_number", "_get_best_trial_id", "get_trial"),
    *("set_trial_intermediate_value", "set_trial_user_attr", "set_trial_system_attr"),
    *("_get_trials", "get_trial_user_attrs", "get_trial_system_attrs"),
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

    def states(
        self, study_id: int, trial_ids: Collection[int], above: int
    ) -> list[tuple[int, TrialState]]:
        """The states of some of a study's trials, and of all beyond a number, by trial id."""
        trial = models.TrialModel
        some = sqlalchemy.or_(trial.trial_id.in_(trial_ids), trial.trial_id > above)

        def read() -> list[tuple[int, TrialState]]:
            with _create_scoped_session(self.scoped_session) as session:
                found = session.query(trial.trial_id, trial.state)
                rows = found.filter(trial.study_id == study_id).filter(some).all()
            return [(trial_id, state) for trial_id, state in rows]

        return self.patience.keep(read, self.server)

    def write(self, writes: Sequence[Callable[[Session], None]]) -> None:
        """Do several writes in one transaction; what is there already is left."""

        def write_all() -> None:
            with _create_scoped_session(self.scoped_session, True) as session:
                for one in writes:
                    one(session)

        self.patience.keep(write_all, self.server)


def _patient(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def patient(self: PatientStorage, *args: Any, **kwargs: Any) -> Any:
        return self.patience.keep(lambda: method(self, *args, **kwargs), self.server)

    return patient


for _name in LEAVES:
    setattr(PatientStorage, _name, _patient(getattr(RDBStorage, _name)))
