"""Several studies side by side: what they share, how they went, which finalists are better.

Studies whose settings differ in nothing but the seed are repetitions of one search: a group, with a
band over its seeds.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from optuna import Study

from search.reporting.finalists import Comparison as Difference
from search.reporting.finalists import Finalist, compare, unpaired
from search.reporting.leaderboard import Summary, best_so_far, summarize
from search.reporting.records import Outcome, TrialRecord
from search.study.attributes import KNOWS, SETTINGS
from search.study.differences import in_words

# Settings that say which run it was and not which search.
RUN = ("seed", "code", "commit", "workers", "device")
NOT_ENDED = (Outcome.RUNNING, Outcome.WAITING)


@dataclass(frozen=True, kw_only=True)
class Point:
    """A study after one of its trials."""

    trials: int  # that have ended
    seconds: float  # of training, all of these together
    best: float | None  # accuracy, the best valid one so far


@dataclass(frozen=True, kw_only=True)
class Compared:
    """One of the studies."""

    name: str  # as the page calls it
    group: int  # its place among the groups
    summary: Summary
    settings: Mapping[str, object]
    path: tuple[Point, ...]  # in the order in which its trials ended

    @property
    def finalist(self) -> Finalist | None:
        """Its best one; None where nothing was tested."""
        return self.summary.finalists.chosen if self.summary.finalists else None


@dataclass(frozen=True, kw_only=True)
class Pair:
    """The winners of two studies, tested on the same images."""

    first: Compared  # the one with the better mean
    second: Compared
    difference: Difference
    paired: bool  # by the seeds that both were trained with; else Welch's test


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Everything that the page says, as values."""

    made_at: datetime
    studies: tuple[Compared, ...]  # in the order given
    groups: tuple[tuple[Compared, ...], ...]
    differing: tuple[tuple[str, tuple[str, ...]], ...]  # settings that differ, one value a study
    pairs: tuple[Pair, ...]


def compare_studies(
    studies: Sequence[tuple[str, Study]], *, made_at: datetime | None = None
) -> Comparison:
    """Read several studies and set them side by side.

    Args:
        studies: With the name of each, which is told apart from the others.
        made_at: The time that the page shows; None: now.
    """
    found: list[Compared] = []
    groups: dict[str, int] = {}
    for name, study in studies:
        settings = SETTINGS.of(study)
        if KNOWS.of(study):
            settings = {**settings, "from": ", ".join(KNOWS.of(study))}
        search = {key: value for key, value in settings.items() if key not in RUN}
        key = json.dumps(search, sort_keys=True) if settings else name
        summary = summarize(study, made_at=made_at)
        group = groups.setdefault(key, len(groups))
        path = tuple(_path(summary))
        found.append(
            Compared(name=name, group=group, summary=summary, settings=settings, path=path)
        )
    return Comparison(
        made_at=made_at or datetime.now(UTC),
        studies=tuple(found),
        groups=tuple(tuple(s for s in found if s.group == at) for at in range(len(groups))),
        differing=tuple(_differing([study.settings for study in found])),
        pairs=tuple(_pairs(found)),
    )


def _path(summary: Summary) -> Iterator[Point]:
    ended = sorted(
        (trial for trial in summary.trials if trial.outcome not in NOT_ENDED), key=_when_ended
    )
    seconds = itertools.accumulate(trial.seconds or 0.0 for trial in ended)
    best = best_so_far(summary, ended)
    for at, (spent, value) in enumerate(zip(seconds, best, strict=True), start=1):
        yield Point(trials=at, seconds=spent, best=value)


def _when_ended(trial: TrialRecord) -> tuple[bool, float, int]:
    ended = trial.ended
    return ended is None, ended.timestamp() if ended else 0.0, trial.number


def _differing(settings: Sequence[Mapping[str, object]]) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Settings that are not the same in all studies, each with its value in every one."""
    flat = [dict(_flat(one, "")) for one in settings]
    for name in dict.fromkeys(name for one in flat for name in one):
        values = tuple(in_words(one.get(name)) for one in flat)
        if len(set(values)) > 1:
            yield name, values


def _flat(settings: Mapping[str, object], prefix: str) -> Iterator[tuple[str, object]]:
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _pairs(studies: Sequence[Compared]) -> Iterator[Pair]:
    """The winners of each two studies whose test images are the same, the better first."""
    for one, other in itertools.combinations(studies, 2):
        images = {study.summary.problem.fingerprint for study in (one, other)}
        if one.finalist is None or other.finalist is None or len(images) > 1 or images == {""}:
            continue
        first, second = sorted((one, other), key=lambda study: -_mean(study))
        runs = [study.finalist.runs if study.finalist else () for study in (first, second)]
        difference = compare(*runs)
        paired = difference.seeds >= 2
        yield Pair(
            first=first,
            second=second,
            difference=difference if paired else unpaired(*runs),
            paired=paired,
        )


def _mean(study: Compared) -> float:
    return study.finalist.mean if study.finalist else 0.0
