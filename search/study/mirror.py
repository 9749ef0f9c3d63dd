"""A study's trials, read once and kept in memory by the one process that writes them.

Optuna reads all that is unfinished before each decision of a sampler or a pruner, and writes each
parameter and attribute of a trial in a transaction of its own. Here a decision reads memory, and a
trial that was drawn is written as a whole, in one transaction, once it is known what it is.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import InMemoryStorage, RDBStorage
from optuna.trial import FrozenTrial, TrialState

Call = Callable[[], Any]


class NumberTaken(Exception):
    """A process that does not heed the study's lock made a trial: the study is to be read anew.

    What was to have its number is in the database under another one, and failed unless it ended.
    """


class MirroredStorage(InMemoryStorage):
    """One study of a database, for the process that asks, reports and tells.

    ``study.ask()`` makes a draft: a running trial that this process alone knows. What is drawn and
    noted for it stays in memory until ``write_draft`` or until it is told, and is then written in
    one transaction. All else goes to the database first and then to memory.

    What other processes do is seen by ``refresh``. Between ``refresh`` and ``write_draft`` no other
    process may make a trial: hold the study's lock.

    Args:
        backend: The database.
        study: The name of a study in it.
        keep: Does a call of the backend; again where a server was away for a while.
    """

    def __init__(
        self, backend: RDBStorage, study: str, keep: Callable[[Call], Any] = lambda call: call()
    ) -> None:
        super().__init__()
        self._backend, self._keep = backend, keep
        self._there: int = keep(lambda: backend.get_study_id_from_name(study))
        directions = keep(lambda: backend.get_study_directions(self._there))
        self._here = super().create_new_study(directions, study)
        self._ids: dict[int, int] = {}  # in the database, by ids of memory; drafts have none
        self._foreign: set[int] = set()  # ids of memory: unfinished ones of other processes
        trials: list[FrozenTrial] = keep(lambda: backend.get_all_trials(self._there))
        for trial in trials:
            self._take_in(trial)

    def refresh(self) -> None:
        """See what other processes have made and ended since the last look."""
        unfinished: dict[int, FrozenTrial] = {}
        if self._foreign:
            states = (TrialState.RUNNING, TrialState.WAITING)
            get_all = self._backend.get_all_trials
            found = self._keep(lambda: get_all(self._there, deepcopy=False, states=states))
            unfinished = {trial.number: trial for trial in found}
        for trial_id in sorted(self._foreign):
            known = unfinished.get(self.get_trial(trial_id).number)
            self._update(trial_id, known or self._read(self._ids[trial_id]))
        while True:
            number = self.get_n_trials(self._here)
            try:
                there = self._id_there(number)
            except KeyError:
                return
            self._take_in(self._read(there))

    def id_of(self, number: int) -> int:
        """A trial's id here, from its number."""
        return self.get_trial_id_from_study_id_trial_number(self._here, number)

    def look_again(self, number: int) -> FrozenTrial:
        """See what others have made of a trial that counts as this process's; returns it."""
        trial_id = self.id_of(number)
        there = self._ids.get(trial_id)
        if there is not None and not self.get_trial(trial_id).state.is_finished():
            self._update(trial_id, self._read(there))
        return self.get_trial(trial_id)

    def disown(self, number: int) -> None:
        """Count a running trial as another process's, which ``refresh`` looks at."""
        self._foreign.add(self.id_of(number))

    def write_draft(self, number: int) -> None:
        """Put a trial that was drawn into the database, with all that is known of it.

        One that is there stays as it is.

        Raises:
            NumberTaken: If another process has made a trial of its number meanwhile.
        """
        trial_id = self.id_of(number)
        if trial_id in self._ids:
            return
        trial = self.get_trial(trial_id)
        there: int = self._keep(lambda: self._backend.create_new_trial(self._there, trial))
        if self._keep(lambda: self._backend.get_trial_number_from_id(there)) != number:
            if not trial.state.is_finished():
                self._keep(lambda: self._backend.set_trial_state_values(there, TrialState.FAIL))
            raise NumberTaken
        self._ids[trial_id] = there

    def _id_there(self, number: int) -> int:
        found: int = self._keep(
            lambda: self._backend.get_trial_id_from_study_id_trial_number(self._there, number)
        )
        return found

    def _read(self, there: int) -> FrozenTrial:
        found: FrozenTrial = self._keep(lambda: self._backend.get_trial(there))
        return found

    def _take_in(self, trial: FrozenTrial) -> None:
        here = super().create_new_trial(self._here, trial)
        if not trial.state.is_finished():
            self._ids[here] = self._id_there(trial.number)
            self._foreign.add(here)

    def _update(self, here: int, trial: FrozenTrial) -> None:
        """Write into memory what a trial has in the database."""
        for name, value in trial.params.items():
            kind = trial.distributions[name]
            super().set_trial_param(here, name, kind.to_internal_repr(value), kind)
        for key, value in trial.user_attrs.items():
            super().set_trial_user_attr(here, key, value)
        for key, value in trial.system_attrs.items():
            super().set_trial_system_attr(here, key, value)
        for step, value in trial.intermediate_values.items():
            super().set_trial_intermediate_value(here, step, value)
        if trial.state != self.get_trial(here).state:
            super().set_trial_state_values(here, trial.state, trial.values)
        if trial.state.is_finished():
            self._foreign.discard(here)

    def _through(self, trial_id: int, call: Callable[[int], Any]) -> Any:
        """Do something in the database, but for a draft; gives None for one."""
        there = self._ids.get(trial_id)
        return None if there is None else self._keep(lambda: call(there))

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """A draft, or a trial that is written as it is at once."""
        trial_id = super().create_new_trial(study_id, template_trial)
        if template_trial is not None:
            self.write_draft(self.get_trial(trial_id).number)
            if template_trial.state == TrialState.WAITING:
                self._foreign.add(trial_id)  # whoever asks next takes it
        return trial_id

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """As Optuna's, which takes it that no trial before the last that waited waits again."""
        among = None if states is None else {state for state in TrialState if state in states}
        return super().get_all_trials(study_id, deepcopy, among)

    def set_trial_param(
        self,
        trial_id: int,
        param_name: str,
        param_value_internal: float,
        distribution: BaseDistribution,
    ) -> None:
        """As Optuna's."""
        given = (param_name, param_value_internal, distribution)
        self._through(trial_id, lambda there: self._backend.set_trial_param(there, *given))
        super().set_trial_param(trial_id, *given)

    def set_trial_state_values(
        self, trial_id: int, state: TrialState, values: Sequence[float] | None = None
    ) -> bool:
        """As Optuna's; a draft that ends is written."""
        taken = self._through(trial_id, lambda there: self._change_there(there, state, values))
        if taken is False:  # another process was first
            self._update(trial_id, self._read(self._ids[trial_id]))
            return False
        done = super().set_trial_state_values(trial_id, state, values)
        if state == TrialState.RUNNING:
            self._foreign.discard(trial_id)  # nobody else writes it from now on
        elif state.is_finished():
            self.write_draft(self.get_trial(trial_id).number)
            self._foreign.discard(trial_id)
        else:
            self._foreign.add(trial_id)
        return done

    def _change_there(self, there: int, state: TrialState, values: Sequence[float] | None) -> bool:
        """Change a state in the database; that it was done by a call whose answer was lost is none.

        ``keep`` does a call again, and the first one may have reached the server.
        """
        try:
            return self._backend.set_trial_state_values(there, state, values)
        except UpdateFinishedTrialError:
            found = self._backend.get_trial(there)
            if (found.state, found.values) != (state, values and list(values)):
                raise
            return True

    def set_trial_intermediate_value(
        self, trial_id: int, step: int, intermediate_value: float
    ) -> None:
        """As Optuna's."""
        report = self._backend.set_trial_intermediate_value
        self._through(trial_id, lambda there: report(there, step, intermediate_value))
        super().set_trial_intermediate_value(trial_id, step, intermediate_value)

    def set_trial_user_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        self._through(trial_id, lambda there: self._backend.set_trial_user_attr(there, key, value))
        super().set_trial_user_attr(trial_id, key, value)

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        change = self._backend.set_trial_system_attr
        self._through(trial_id, lambda there: change(there, key, value))
        super().set_trial_system_attr(trial_id, key, value)

    def set_study_user_attr(self, study_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        self._keep(lambda: self._backend.set_study_user_attr(self._there, key, value))

    def set_study_system_attr(self, study_id: int, key: str, value: Any) -> None:
        """As Optuna's."""
        self._keep(lambda: self._backend.set_study_system_attr(self._there, key, value))

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """As they are in the database."""
        found: dict[str, Any] = self._keep(lambda: self._backend.get_study_user_attrs(self._there))
        return found

    def get_study_system_attrs(self, study_id: int) -> dict[str, Any]:
        """As they are in the database."""
        attributes = self._backend.get_study_system_attrs
        found: dict[str, Any] = self._keep(lambda: attributes(self._there))
        return found
