"""A sampler that has another one do the work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class WrappedSampler(BaseSampler):
    """Does as another sampler does; what that is shown can be changed in ``shown``.

    Args:
        sampler: Does the work.
    """

    def __init__(self, sampler: BaseSampler) -> None:
        self._sampler = sampler

    def shown(self, study: Study, trial: FrozenTrial) -> tuple[Study, FrozenTrial]:
        """The study and the trial that the other sampler draws from."""
        return study, trial

    def reseed_rng(self) -> None:
        """As the wrapped sampler does."""
        self._sampler.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As the wrapped sampler does."""
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As the wrapped sampler does."""
        return self._sampler.infer_relative_search_space(*self.shown(study, trial))

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the wrapped sampler does."""
        return self._sampler.sample_relative(*self.shown(study, trial), search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """As the wrapped sampler does."""
        there = self.shown(study, trial)
        return self._sampler.sample_independent(*there, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """As the wrapped sampler does."""
        self._sampler.after_trial(study, trial, state, values)
