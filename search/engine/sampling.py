"""The sampler and the pruner of a study, by the names that the command line gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from search.engine.claims import first_number
from search.engine.seeds import mix_seed

STARTUP_TRIALS = 10  # TPE draws at random until so many trials are finished


class SamplerByTrial(BaseSampler):
    """A sampler that starts from a fresh seed for every trial.

    The seed comes from the study's seed and the trial's number, that of its first attempt, so
    what a trial draws depends on the history alone: not on which worker asks, nor on whether the
    search was interrupted.

    Args:
        seed: The study's seed.
        make: Makes the sampler that does the work, from a seed below 2**32.
    """

    def __init__(self, seed: int, make: Callable[[int], BaseSampler]) -> None:
        self._seed = seed
        self._make = make
        self._sampler = make(seed % 2**32)

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Begin a trial with a sampler of its own."""
        self._sampler = self._make(mix_seed(self._seed, "sampler", first_number(trial)) % 2**32)
        self._sampler.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As the wrapped sampler does."""
        return self._sampler.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """As the wrapped sampler does."""
        return self._sampler.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """As the wrapped sampler does."""
        return self._sampler.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """As the wrapped sampler does."""
        self._sampler.after_trial(study, trial, state, values)


def make_sampler(name: str, seed: int) -> BaseSampler:
    """The sampler of a name: tpe or random."""
    if name == "random":
        return SamplerByTrial(seed, lambda fresh: RandomSampler(seed=fresh))
    return SamplerByTrial(
        seed, lambda fresh: TPESampler(seed=fresh, n_startup_trials=STARTUP_TRIALS)
    )


def make_pruner(name: str, epochs: int) -> BasePruner:
    """The pruner of a name (median, hyperband, none), for trials of so many epochs.

    The median rule starts after ten complete trials, and in each trial after three of 20 epochs.
    Replayed on 31 random candidates trained in full it then saves 40 % of the epochs and never
    ended one of the best five; after five complete trials it did so in 26 of 100 orders, as the
    median of so few is a matter of luck (``benchmarks/pruning.py``, table in docs/log.md).
    """
    if name == "hyperband":
        return HyperbandPruner(min_resource=max(1, epochs // 5), max_resource=epochs)
    if name == "none":
        return NopPruner()
    return MedianPruner(n_startup_trials=10, n_warmup_steps=max(1, round(0.15 * epochs)))
