"""What keeps a worker's use of a database server small: few reads, and writes in one go.

Measured with 32 workers, Optuna's own cache reads every running trial in full whenever the pruner
looks at the complete ones, and the three looks that start a trial are three such reads
(docs/cluster.md has the figures).
"""

from __future__ import annotations

import copy
import time
from collections import defaultdict
from collections.abc import Container, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.trial import FrozenTrial, TrialState

from search.engine.rows import Writes
from search.engine.servers import PatientStorage

RECENT_SECONDS = 5.0  # the pruner's median and the sampler's history may be so old
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
        self._pending: dict[int, Writes] | None = None  # by trial id: what waits to be written

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """As Optuna's, but for what the class and ``reading_once`` say.

        Where finished trials alone are wanted no running one is read, and what others finished
        in the last moments may be missing.
        """
        if states is None or not FINISHED.issuperset(s for s in TrialState if s in states):
            return super().get_all_trials(study_id, deepcopy, states)
        if not self._is_recent(study_id):
            self._read_outlines(study_id)
        with self._lock:
            trials = self._studies[study_id].trials.values()
            found = sorted((t for t in trials if t.state in states), key=lambda t: t.number)
        return copy.deepcopy(found) if deepcopy else found

    def _is_recent(self, study_id: int) -> bool:
        """Whether what is known of a study will do."""
        if self._read is not None:
            return study_id in self._read
        return time.monotonic() - self._read_at.get(study_id, -RECENT_SECONDS) < RECENT_SECONDS

    def _read_outlines(self, study_id: int) -> None:
        """Read what has finished and what waits; of running trials only that they do."""
        with self._lock:
            study = self._studies.setdefault(study_id, _StudyInfo())
            known, last = study.unfinished_trial_ids, study.last_finished_trial_id
            news = self._server.outlines(study_id, known, last)
            running = [trial for trial in news if trial.state == TrialState.RUNNING]
            ended = {trial._trial_id for trial in news if trial.state.is_finished()}
            whole = {trial._trial_id for trial in news} - {trial._trial_id for trial in running}
            self._add_trials_to_cache(study_id, running)
            if whole:
                trials = self._server._get_trials(study_id, None, whole, LAST_ID)
                self._add_trials_to_cache(study_id, trials)
            study.unfinished_trial_ids |= {trial._trial_id for trial in news}
            study.unfinished_trial_ids -= ended
            study.last_finished_trial_id = max(last, *ended, -1)
        self._read_at[study_id] = time.monotonic()
        if self._read is not None:
            self._read.add(study_id)

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        if self._read is None and self._pending is None:
            super()._read_trials_from_remote_storage(study_id)
            self._read_at[study_id] = time.monotonic()
        elif not self._is_recent(study_id):
            self._read_outlines(study_id)

    @contextmanager
    def reading_once(self) -> Iterator[None]:
        """All looks at a study's trials within see the same: that of the first.

        Of running trials they see number, state and times, and nothing that these hold.
        """
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
        self._pending = defaultdict(Writes)
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
        before = (
            known.get(param_name)
            or self._drawn_before(study_id, param_name)
            or self._server.first_distribution(trial_id, param_name)
        )
        if before is not None:
            optuna.distributions.check_distribution_compatibility(before, distribution)
        known.setdefault(param_name, distribution)
        self._pending[trial_id].params[param_name] = (param_value_internal, distribution)

    def _drawn_before(self, study_id: int, name: str) -> BaseDistribution | None:
        with self._lock:
            trials = self._studies[study_id].trials.values()
            return next((t.distributions[name] for t in trials if name in t.distributions), None)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        if self._pending is None:
            super().set_trial_user_attr(trial_id, key, value)
        else:
            self._pending[trial_id].user_attrs[key] = value

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        if self._pending is None:
            super().set_trial_system_attr(trial_id, key, value)
        else:
            self._pending[trial_id].system_attrs[key] = value


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
