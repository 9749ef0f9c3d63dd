"""The sampler and the pruner of a study, by the names that the command line gives them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from optuna.pruners import BasePruner, HyperbandPruner, NopPruner
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from search.architecture.limits import Limits
from search.common.seeds import mix_seed
from search.study.sampling.informed import InformedSampler
from search.study.sampling.median import MedianPruner
from search.study.sampling.racing import RacingSampler
from search.study.sampling.wrapped import WrappedSampler

STARTUP_TRIALS = 10  # so many are drawn at random before what was learned counts


def _racing(seed: int, stack: int) -> BaseSampler:
    return RacingSampler(seed=seed, n_startup_trials=STARTUP_TRIALS, stack=stack)


def _tpe(seed: int, stack: int) -> BaseSampler:
    return TPESampler(seed=seed, n_startup_trials=STARTUP_TRIALS)


def _random(seed: int, stack: int) -> BaseSampler:
    return RandomSampler(seed=seed)


# By name: makes one from a seed below 2**32, and how many seeds of a candidate are given at once.
SAMPLERS: dict[str, Callable[[int, int], BaseSampler]] = {
    "racing": _racing,
    "tpe": _tpe,
    "random": _random,
}


class SamplerByTrial(WrappedSampler):
    """A sampler that starts from a fresh seed for every trial.

    The seed comes from the study's seed and the trial's number, so what a trial draws depends on
    the history alone: not on whether the search was interrupted.

    Args:
        seed: The study's seed.
        make: Makes the sampler that does the work, from a seed below 2**32.
    """

    def __init__(self, seed: int, make: Callable[[int], BaseSampler]) -> None:
        self._seed = seed
        self._make = make
        super().__init__(make(seed % 2**32))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Begin a trial with a sampler of its own."""
        self._sampler = self._make(mix_seed(self._seed, "sampler", trial.number) % 2**32)
        super().before_trial(study, trial)


def make_sampler(
    name: str,
    seed: int,
    known: Sequence[FrozenTrial] = (),
    *,
    limits: Limits | None = None,
    stack: int = 1,
) -> BaseSampler:
    """The sampler of a name in ``SAMPLERS``.

    Args:
        name: As the command line gives it.
        seed: The study's.
        known: Trials of other studies to learn from too.
        limits: By which the study's trials are judged anew, where some were made under others.
        stack: Seeds of a candidate that is raced that whoever asks trains at once.
    """
    sampler = SamplerByTrial(seed, lambda trial_seed: SAMPLERS[name](trial_seed, stack))
    return InformedSampler(sampler, known, limits) if known or limits else sampler


def make_pruner(name: str, epochs: int, images: int) -> BasePruner:
    """The pruner of a name (median, hyperband, none).

    The median rule starts after ten complete trials, and in each trial after three of 20 epochs,
    but never after the first alone: in short trainings the learning rate still rises then.
    After five complete trials the median is a matter of luck: replayed on 31 random candidates it
    then ended one of the best five in 26 of 100 orders (``benchmarks/pruning.py``; docs/log/).

    Args:
        name: As the command line gives it.
        epochs: That a trial has.
        images: How many validation images an accuracy is counted on.
    """
    if name == "hyperband":
        return HyperbandPruner(min_resource=max(1, epochs // 5), max_resource=epochs)
    if name == "none":
        return NopPruner()
    return MedianPruner(images, n_startup_trials=10, n_warmup_steps=max(2, round(0.15 * epochs)))
