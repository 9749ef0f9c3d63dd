"""What keeps a worker's use of a database server small: few reads, and writes in one go.

Measured with 32 workers, Optuna's own cache reads every running trial in full whenever the pruner
looks at the complete ones, and the three looks that start a trial are three such reads
(docs/cluster.md has the figures).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.storages._rdb import models
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.orm import Session

from search.engine.servers import PatientStorage

RECENT_SECONDS = 2.0
LAST_ID = 2**31 - 1  # of a trial: the database's column is so wide
FINISHED = frozenset(state for state in TrialState if state.is_finished())


class FrugalStorage(_CachedStorage):
    """Optuna's cache of a server's trials, for a worker.

    Args:
        backend: The server's.
    """

    def __init__(self, backend: PatientStorage) -> None:
        super().__init__(backend)
        self._server = backend
        self._read: set[int] | None = None  # studies that were read, where once is enough
        self._read_at: dict[int, float] = {}  # by study: seconds
        self._pending: list[Callable[[Session], None]] | None = (
            None  # writes that wait for the others
        )

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """As Optuna's; where finished trials alone are wanted, no running one is read."""
        if states is None or not FINISHED.issuperset(s for s in TrialState if s in states):
            return super().get_all_trials(study_id, deepcopy, states)
        if self._read is None or study_id not in self._read:
            self._read_finished(study_id)
        with self._lock:
            trials = self._studies[study_id].trials.values()
            found = sorted((t for t in trials if t.state in states), key=lambda t: t.number)
        return copy.deepcopy(found) if deepcopy else found

    def _read_finished(self, study_id: int) -> None:
        with self._lock:
            study = self._studies.setdefault(study_id, _StudyInfo())
            states = self._server.states(
                study_id, study.unfinished_trial_ids, study.last_finished_trial_id
            )
            ended = {trial_id for trial_id, state in states if state.is_finished()}
            if ended:
                trials = self._server._get_trials(study_id, None, ended, LAST_ID)
                self._add_trials_to_cache(study_id, trials)
            study.unfinished_trial_ids |= {trial_id for trial_id, _ in states}
            study.unfinished_trial_ids -= ended
            study.last_finished_trial_id = max(study.last_finished_trial_id, *ended, -1)

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        if self._read is not None and study_id in self._read:
            return
        read_before = time.monotonic() - self._read_at.get(study_id, -RECENT_SECONDS)
        if self._pending is not None and read_before < RECENT_SECONDS:
            return  # the sampler draws from what the study held when the trial was started
        super()._read_trials_from_remote_storage(study_id)
        self._read_at[study_id] = time.monotonic()
        if self._read is not None:
            self._read.add(study_id)

    @contextmanager
    def reading_once(self) -> Iterator[None]:
        """All looks at a study's trials within see the same: that of the first."""
        self._read = set()
        try:
            yield
        finally:
            self._read = None

    @contextmanager
    def together(self) -> Iterator[None]:
        """What is written to trials within is written at the end, in one transaction.

        A sampler that looks at all trials within sees those of a moment ago.
        """
        self._pending = []
        try:
            yield
        finally:
            pending, self._pending = self._pending, None
            if pending:
                self._server.write(pending)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """As Optuna's."""
        if self._pending is None:
            super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
            return
        study_id, _ = self._trial_id_to_study_id_and_number[trial_id]
        known = self._studies[study_id].param_distribution
        before = known.get(param_name)
        if before is not None:
            optuna.distributions.check_distribution_compatibility(before, distribution)
        self._pending.append(
            lambda session: self._server._set_trial_param_without_commit(
                session, trial_id, param_name, param_value_internal, distribution, before
            )
        )
        known.setdefault(param_name, distribution)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        if self._pending is None:
            super().set_trial_user_attr(trial_id, key, value)
            return
        model = models.TrialUserAttributeModel
        self._pending.append(
            lambda session: self._server._set_trial_attr_without_commit(
                session, model, trial_id, key, value
            )
        )

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        if self._pending is None:
            super().set_trial_system_attr(trial_id, key, value)
            return
        model = models.TrialSystemAttributeModel
        self._pending.append(
            lambda session: self._server._set_trial_attr_without_commit(
                session, model, trial_id, key, value
            )
        )


def frugal(storage: RDBStorage) -> optuna.storages.BaseStorage:
    """A storage as a worker uses it."""
    return FrugalStorage(storage) if isinstance(storage, PatientStorage) else storage


def reading_once(study: optuna.Study) -> AbstractContextManager[None]:
    """All looks at a study's trials within see the same, where it is on a server."""
    storage = study._storage
    return storage.reading_once() if isinstance(storage, FrugalStorage) else nullcontext()


def together(trial: optuna.Trial) -> AbstractContextManager[None]:
    """What a trial writes within is one transaction, where it is on a server."""
    storage = trial.storage
    return storage.together() if isinstance(storage, FrugalStorage) else nullcontext()
