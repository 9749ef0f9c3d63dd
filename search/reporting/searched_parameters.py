"""The searched parameters: their ranges over all trials of a study, and where the best gather."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import optuna
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from search.common.values import number
from search.reporting.candidates import value_text

FEWEST_TRIALS = 20
FEWEST_TOP_TRIALS = 5  # what optuna's documentation asks for above the quantile


@dataclass(frozen=True, kw_only=True)
class Dimension:
    """One suggested parameter: a numeric range, or choices in their order."""

    name: str
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False  # integers only
    choices: tuple[str, ...] = ()  # as text; not empty for a categorical parameter

    @property
    def is_ordered(self) -> bool:
        """Whether the values are numbers with an order, so that the range has two ends."""
        return not self.choices

    def position(self, value: object) -> float | None:
        """Where a value lies between the ends, from 0 to 1; None for one that lies nowhere."""
        if self.choices:
            shown = value_text(value)
            if shown not in self.choices:
                return None
            return self.choices.index(shown) / max(1, len(self.choices) - 1)
        finite = number(float(value) if isinstance(value, bool) else value)
        if finite is None or self.high <= self.low or not self.low <= finite <= self.high:
            return None
        if self.log:
            return math.log(finite / self.low) / math.log(self.high / self.low)
        return (finite - self.low) / (self.high - self.low)

    def ends(self) -> tuple[str, str]:
        """The lowest and the highest value, as text."""
        if self.choices:
            return self.choices[0], self.choices[-1]
        return value_text(self.low if not self.whole else int(self.low)), value_text(
            self.high if not self.whole else int(self.high)
        )


def read_dimensions(trials: Iterable[FrozenTrial]) -> tuple[Dimension, ...]:
    """Every parameter that any trial suggested, in order of first appearance.

    A range that differs between trials becomes the hull of them all.
    """
    found: dict[str, Dimension] = {}
    for trial in trials:
        for name, distribution in trial.distributions.items():
            seen = _dimension(name, distribution)
            if seen is not None:
                found[name] = _hull(found[name], seen) if name in found else seen
    return tuple(found.values())


def _dimension(name: str, distribution: object) -> Dimension | None:
    if isinstance(distribution, CategoricalDistribution):
        choices = tuple(value_text(choice) for choice in distribution.choices)
        return Dimension(name=name, choices=choices)
    if isinstance(distribution, IntDistribution | FloatDistribution):
        return Dimension(
            name=name,
            low=float(distribution.low),
            high=float(distribution.high),
            log=distribution.log,
            whole=isinstance(distribution, IntDistribution),
        )
    return None


def _hull(first: Dimension, second: Dimension) -> Dimension:
    if first == second or first.is_ordered != second.is_ordered:
        return first
    if first.choices:
        merged = dict.fromkeys(first.choices + second.choices)
        return Dimension(name=first.name, choices=tuple(merged))
    return Dimension(
        name=first.name,
        low=min(first.low, second.low),
        high=max(first.high, second.high),
        log=first.log and second.log,
        whole=first.whole and second.whole,
    )


@dataclass(frozen=True, kw_only=True)
class Importance:
    """Shares that sum to 1, largest first; empty with the reason where nothing can be said."""

    shares: tuple[tuple[str, float], ...] = ()
    top_share: float = 0.0  # "good" means: among this best share of the complete trials
    trials: int = 0
    reason: str = ""


def measure_importance(
    trials: Sequence[FrozenTrial], directions: Sequence[StudyDirection]
) -> Importance:
    """Importance of each parameter for being among the best complete trials.

    PED-ANOVA (Watanabe, Bansal and Hutter 2023, arXiv:2304.10255) compares how the best trials
    are spread over a parameter's range with how all are. A sampler that learns draws its later
    trials, which are the better ones, close together: a parameter without effect can then have a
    large share (seen: the width of a layer that no network of the best twenty has). Functional
    ANOVA is no cure: among 194 simulated trials it put the parameter that weighed most seventh,
    and it takes 27 s for 1,000.

    Works on a copy in memory: a running search's storage is read once, and never for this.

    Returns:
        No shares but a reason with fewer than 20 complete trials, or if their values are all
        equal, or if optuna cannot compute them.
    """
    complete = [
        trial
        for trial in trials
        if trial.state == TrialState.COMPLETE
        and len(trial.values or ()) == 1
        and number((trial.values or [None])[0]) is not None
        and trial.params
    ]
    count = len(complete)
    if len(directions) != 1:
        return Importance(trials=count, reason="The study has more than one objective.")
    if count < FEWEST_TRIALS:
        return Importance(
            trials=count,
            reason=f"Importance needs at least {FEWEST_TRIALS} complete trials; "
            f"this study has {count}.",
        )
    if len({trial.values[0] for trial in complete}) == 1:
        return Importance(trials=count, reason="All complete trials have the same value.")
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances  # slow: 1 s

    top_share = max(0.1, FEWEST_TOP_TRIALS / count)
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        copy = optuna.create_study(direction=directions[0])
        copy.add_trials(
            [
                optuna.trial.create_trial(
                    params=trial.params, distributions=trial.distributions, value=trial.values[0]
                )
                for trial in complete
            ]
        )
        shares = get_param_importances(
            copy, evaluator=PedAnovaImportanceEvaluator(target_quantile=top_share)
        )
    except Exception as error:  # noqa: BLE001  a figure less, not a report less
        return Importance(trials=count, reason=f"optuna could not compute it: {error}")
    finally:
        optuna.logging.set_verbosity(verbosity)
    finite = [(name, share) for name, share in shares.items() if number(share) is not None]
    return Importance(
        shares=tuple(sorted(finite, key=lambda pair: -pair[1])), top_share=top_share, trials=count
    )
