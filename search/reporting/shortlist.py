"""The shortlist: the search's best, trained again on fresh seeds to choose the finalists.

The best of many single values owes part of its place to luck: on a search of 49 complete trials
the winner's value was 0.05 to 0.08 points above its mean over other seeds (docs/log/). All
trainings of one architecture on the search's images are equally good evidence of it, the search's
own among them, so their mean decides. By the fresh ones alone one sees how lucky that one was.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from optuna.trial import FrozenTrial, TrialState

from search.common.text import counted
from search.common.values import share
from search.reporting.architectures import architectures
from search.reporting.finalists import Finalists
from search.reporting.records import StudyLimits, read_trials
from search.study.attributes import (
    ARCHITECTURE,
    CANDIDATE,
    PARAMETERS,
    RANK,
    SEARCH_TRIAL,
    SEED,
)

HEADING = "How the finalists were chosen"


@dataclass(frozen=True, kw_only=True)
class Shortlisted:
    """An architecture of the shortlist."""

    place: int  # by the mean of all trainings, from 1
    search_trial: int
    search_rank: int | None  # on the leaderboard when it was chosen
    searched: tuple[float, ...]  # validation accuracies of the search's seeds, in [0, 1]
    architecture: str
    parameters: int | None
    candidate: str  # JSON
    fresh: tuple[float, ...]  # validation accuracies of the fresh seeds, by seed
    mean: float  # of the search's seeds and the fresh ones
    chosen: bool = False  # whether it became a finalist

    @property
    def fresh_mean(self) -> float:
        """Mean validation accuracy over the fresh seeds: the search's luck is not in it."""
        return statistics.fmean(self.fresh)

    @property
    def search_accuracy(self) -> float:
        """What the search says: the mean of its seeds."""
        return statistics.fmean(self.searched)

    @property
    def luck(self) -> float:
        """How far the search's mean lay above that of the fresh ones."""
        return self.search_accuracy - self.fresh_mean


def read_shortlist(
    trials: Sequence[FrozenTrial], search: Sequence[FrozenTrial], finalists: Finalists | None = None
) -> tuple[Shortlisted, ...]:
    """The shortlisted architectures, best mean first; one that lacks a seed stands last.

    Args:
        trials: Of the shortlist's study; what is not usable there is left out.
        search: The search's trials.
        finalists: Tells which became finalists.
    """
    usable = [trial for trial in search if _accuracy(trial) is not None]
    values = {
        one.first.number: one.values for one in architectures(read_trials(usable, StudyLimits()))
    }
    groups: dict[tuple[int, str], dict[int, float]] = {}
    last: dict[tuple[int, str], FrozenTrial] = {}
    for trial in trials:
        of, seed = SEARCH_TRIAL.of(trial), SEED.of(trial)
        candidate, accuracy = CANDIDATE.of(trial), _accuracy(trial)
        if accuracy is None or seed is None or of is None or candidate is None:
            continue
        if of in values:
            groups.setdefault((of, candidate), {})[seed] = accuracy
            last[of, candidate] = trial
    chosen = {one.candidate for one in finalists.entries} if finalists else set()
    found = [
        _shortlisted(key, last[key], values[key[0]], by_seed) for key, by_seed in groups.items()
    ]
    found.sort(key=lambda one: (-len(one.fresh), -one.mean, one.parameters or 0, one.search_trial))
    return tuple(
        replace(one, place=place, chosen=one.candidate in chosen)
        for place, one in enumerate(found, start=1)
    )


def says(shortlist: Sequence[Shortlisted]) -> str:
    """What was done and how far the search's own values were off; of at least one architecture."""
    luck = statistics.fmean(one.luck for one in shortlist)
    seeds = max(len(one.fresh) for one in shortlist)
    again = counted(seeds, "fresh seed")
    several = f"best {len(shortlist)} networks of different layers were"
    first = several if len(shortlist) > 1 else "best one was"
    side = "above" if luck >= 0 else "below"
    return (
        f"The search's {first} trained again with {again} each, on its own "
        "images; the finalists have the best means over all trainings there. On average the "
        "search's own value "
        f"lay {100 * abs(luck):.3f} points {side} the mean of the fresh seeds."
    )


def _shortlisted(
    key: tuple[int, str],
    last: FrozenTrial,
    searched: tuple[float, ...],
    by_seed: Mapping[int, float],
) -> Shortlisted:
    fresh = tuple(by_seed[seed] for seed in sorted(by_seed))
    return Shortlisted(
        place=0,
        search_trial=key[0],
        search_rank=RANK.of(last),
        searched=searched,
        architecture=ARCHITECTURE.of(last),
        parameters=PARAMETERS.of(last),
        candidate=key[1],
        fresh=fresh,
        mean=statistics.fmean((*searched, *fresh)),
    )


def _accuracy(trial: FrozenTrial) -> float | None:
    """A complete trial's value where it is a share, else None."""
    values = list(trial.values or [])
    if trial.state != TrialState.COMPLETE or len(values) != 1:
        return None
    return share(values[0])
