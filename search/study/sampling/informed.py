"""A sampler that also learns from trials of other studies, or made under other limits."""

from __future__ import annotations

import copy
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.architecture.limits import Limits, excesses
from search.architecture.refitting import storage_in_memory
from search.study.attributes import FLASH_BYTES, MACS, PARAMETERS, PEAK_BYTES, SEED_OF
from search.study.sampling.wrapped import WrappedSampler

LEAST_ERROR = 1e-4  # so that the ratio of two errors is one


class InformedSampler(WrappedSampler):
    """Shows another sampler a study with known trials beside its own.

    Accuracies under other limits or on other images are higher or lower as a whole. So the errors
    of the known trials are multiplied by what those candidates that were trained in both have here
    over what they have there, in geometric mean.

    Args:
        sampler: Does the work.
        known: Complete trials of the study's space whose values are accuracies in [0, 1].
        limits: By which the study's own trials are judged anew; None: as they were.
    """

    def __init__(
        self, sampler: BaseSampler, known: Sequence[FrozenTrial], limits: Limits | None = None
    ) -> None:
        super().__init__(sampler)
        self._known, self._limits = known, limits
        self._joined: Study | None = None  # what the trial that begins is drawn from

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As the wrapped sampler does, with what has ended since."""
        self._joined = None
        super().before_trial(study, trial)

    def shown(self, study: Study, trial: FrozenTrial) -> tuple[Study, FrozenTrial]:
        """A study with all trials, and in it the one that begins, under its number."""
        if self._joined is None:
            own = study.get_trials(deepcopy=False)
            storage, there = storage_in_memory(study.directions)
            bare = (_bare(trial, self._limits) for trial in own)
            for one in (*bare, *rescaled(self._known, own)):
                storage.create_new_trial(there, one)
            name = storage.get_study_name_from_id(there)
            self._joined = optuna.load_study(study_name=name, storage=storage)
        return self._joined, self._joined.get_trials(deepcopy=False)[trial.number]


def rescaled(known: Sequence[FrozenTrial], own: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    """Known trials with the accuracies that they would have among a study's own.

    Args:
        known: Complete trials whose values are accuracies.
        own: All trials of the study.
    """
    here: dict[frozenset[tuple[str, Any]], list[float]] = {}
    for trial in own:
        if trial.state == TrialState.COMPLETE:
            here.setdefault(frozenset(trial.params.items()), []).append(_log_error(trial))
    changes = [
        statistics.fmean(here[params]) - _log_error(trial)
        for trial in known
        if (params := frozenset(trial.params.items())) in here
    ]
    factor = math.exp(statistics.fmean(changes)) if changes else 1.0
    return [
        create_trial(
            value=1 - min(1.0, factor * (1 - (trial.value or 0.0))),
            params=trial.params,
            distributions=trial.distributions,
            constraints=trial.constraints,
        )
        for trial in known
    ]


def _log_error(trial: FrozenTrial) -> float:
    return math.log(max(LEAST_ERROR, 1 - (trial.value or 0.0)))


@dataclass(frozen=True, kw_only=True)
class _Counts:
    """What a trial records of its network's costs."""

    parameters: int | None
    macs: int | None
    peak_activation_bytes: int | None
    flash_bytes: int | None


def _bare(trial: FrozenTrial, limits: Limits | None) -> FrozenTrial:
    """A trial with what a sampler looks at alone: user attributes would be copied for each draw."""
    bare = copy.copy(trial)
    first = SEED_OF.of(trial)
    bare.user_attrs = {} if first is None else {SEED_OF.name: first}
    if limits is not None and trial.state.is_finished():
        bare.system_attrs = {}  # a constraint that is set stays as it is
        counts = _Counts(
            parameters=PARAMETERS.of(trial),
            macs=MACS.of(trial),
            peak_activation_bytes=PEAK_BYTES.of(trial),
            flash_bytes=FLASH_BYTES.of(trial),
        )
        for name, over in excesses(limits, counts).items():
            bare.set_constraint(name, over)
    return bare
