"""What a search knows from other studies: their best to begin with, all of it for its sampler.

The trainings of other studies lie in a study beside the search's, as they were drawn: their limits,
images and spaces may be others. They are fitted to the search's space whenever it begins.
"""

from __future__ import annotations

import itertools
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.architecture.limits import excesses, is_within
from search.architecture.refitting import Refitted, in_range
from search.common.errors import UserError
from search.common.text import counted
from search.common.values import mapping, text
from search.study.attributes import DRAWN, KNOWS, LABEL, ORIGIN, SETTINGS
from search.study.companions import known_of
from search.study.sampling.racing import Trained, trained
from search.study.storages.location import without_password
from search.study.storages.naming import identity, is_file_of, open_named, storage_of
from search.study.storages.opening import is_ours, readable_errors
from search.study.storages.stored import StoredStudy

if TYPE_CHECKING:
    from search.architecture.spaces import Space

BEST = 10  # candidates that a search begins with, of all studies together
MOST = 300  # trainings that a sampler learns from, as many as a model takes


@dataclass(frozen=True, kw_only=True)
class Source:
    """A study to learn from."""

    key: str  # by which it is known again, wherever its file lies
    name: str  # for people
    about: str  # images and limit, in words
    found: tuple[Trained, ...]  # its candidates, best first


def read_source(named: str, *, storage: str, name: str) -> Source:
    """What another study has to tell.

    Args:
        named: As ``storages.naming`` reads it.
        storage: Of the search.
        name: Of the search.

    Raises:
        UserError: If it cannot be read, is the search itself or of another program, or has no
            complete trial.
    """
    place, wanted = storage_of(named)
    own = is_file_of(place, storage)
    if own and wanted is None:
        raise UserError(
            f"--from {without_password(named)} names the storage of the search itself",
            "Name another one, or a study in it: STORAGE::NAME",
        )
    there = open_named(named)
    study, shown = there.study, there.short(2)
    with readable_errors(place):
        for is_wrong, what in (
            (own and study.study_name == name, "is the study itself"),
            (not is_ours(study), "is not a study of this tool"),
        ):
            if is_wrong:
                raise UserError(f"{shown} {what}", "Leave it out of --from")
        trials = study.get_trials(deepcopy=False)
    found = trained(trials, StudyDirection.MAXIMIZE)
    if not found:
        raise UserError(f"{shown} has no complete trial", "Leave it out of --from")
    settings = SETTINGS.of(study)
    images = text(mapping(settings.get("dataset")).get("name"))
    return Source(
        key=identity(study),
        name=shown,
        about=f"{images}, at most {settings['max_params']:,} parameters",
        found=tuple(sorted(found, key=lambda one: -one.posterior.expected)),
    )


def begin_from(study: StoredStudy, sources: Sequence[Source], space: Space) -> list[str]:
    """Queue the best of other studies, and keep what they trained beside a search's study.

    What is there already, by an earlier call or as a trial, is not taken again. Hold the study's
    lock.

    Args:
        study: The search's.
        sources: The others.
        space: The search's.

    Returns:
        Lines on what was done, and on what the space cannot express.
    """
    beside = study.companion(known_of(study.study_name)) or _new(study)
    there = {_key(ORIGIN.of(trial)) for trial in beside.get_trials(deepcopy=False)}
    lines: list[str] = []
    queues = []
    for source in sources:
        fits = [(one, space.refit(one.first.params)) for one in source.found]
        usable = [(source, one, fitted) for one, fitted in fits if not fitted.lost]
        queues.append([item for item in usable if _can_be_trained(item[2], space)])
        fresh = [
            create_trial(value=score, user_attrs={DRAWN.name: seed.params, ORIGIN.name: origin})
            for one in source.found
            for seed, score in zip(one.seeds, one.scores, strict=True)
            if _key(origin := _origin(source, seed)) not in there
        ]
        beside.add_trials(fresh)
        if fresh:
            lines += _described(source, [fitted for _, fitted in fits])
        else:
            lines.append(f"from {source.name}: nothing new")
    best: dict[str, tuple[Source, Trained, Refitted]] = {}
    for one in itertools.chain.from_iterable(itertools.zip_longest(*queues)):
        if one is not None:
            best.setdefault(_as_text(one[2].params), one)
    queued = _queue(study, list(best.values())[:BEST])
    lines.append(f"{counted(queued, 'candidate')} of theirs queued")
    KNOWS.set(study, sorted({*KNOWS.of(study), *(source.name for source in sources)}))
    return lines


def _can_be_trained(fitted: Refitted, space: Space) -> bool:
    """Whether a candidate is one, and within the search's limits."""
    if fitted.candidate is None:
        return False
    try:
        return is_within(space.limits, space.costs(fitted.candidate))
    except UserError:
        return False


def _queue(study: StoredStudy, best: Sequence[tuple[Source, Trained, Refitted]]) -> int:
    """Queue those of some candidates that a study does not have; returns how many."""
    trials = study.get_trials(deepcopy=False)
    there = {_as_text(trial.params or DRAWN.of(trial)) for trial in trials}
    queued = 0
    for source, one, fitted in best:
        if _as_text(fitted.params) in there:
            continue
        attributes = {
            LABEL.name: f"from {source.name}, trial {one.first.number}",
            ORIGIN.name: _origin(source, one.first),
            DRAWN.name: dict(fitted.params),
        }
        study.enqueue_trial(dict(fitted.params), user_attrs=attributes)
        queued += 1
    return queued


def known_to(study: StoredStudy, space: Space) -> list[FrozenTrial]:
    """What a search's sampler learns from beside its own trials: complete trials of its space.

    Args:
        study: The search's.
        space: Its.

    Returns:
        All, or ``MOST`` of them from the best to the worst.
    """
    beside = study.companion(known_of(study.study_name))
    if beside is None:
        return []
    complete = beside.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    complete.sort(key=lambda trial: -(trial.value or 0.0))
    step = max(1.0, len(complete) / MOST)
    known = []
    for at in range(min(MOST, len(complete))):
        trial = complete[int(at * step)]
        fitted = space.refit(DRAWN.of(trial))
        if fitted.lost or fitted.candidate is None:
            continue
        try:
            over = excesses(space.limits, space.costs(fitted.candidate))
        except UserError:  # no network for these images
            continue
        params, ranges = dict(fitted.params), dict(fitted.ranges)
        value = trial.value
        known.append(
            create_trial(value=value, params=params, distributions=ranges, constraints=over)
        )
    return known


def _described(source: Source, fits: Sequence[Refitted]) -> list[str]:
    """A study in a line, and what of it the space does not have."""
    seeds = sum(len(one.seeds) for one in source.found)
    lines = [
        f"from {source.name} ({source.about}): {counted(seeds, 'training')} of "
        f"{counted(len(fits), 'candidate')}"
    ]
    ranges = {name: kind for one in fits for name, kind in one.ranges.items()}
    for names, what in (
        ([name for one in fits for name in one.moved], "the nearest value is used"),
        ([name for one in fits for name in one.lost], "they are left out"),
    ):
        lines += [
            f"  {name} is outside the range ({in_range(ranges[name])}) in {count:,} of them: {what}"
            for name, count in Counter(names).items()
        ]
    dropped = dict.fromkeys(name for one in fits for name in one.dropped if name not in ranges)
    lines += [f"  {name} is not a parameter of this space: it is ignored" for name in dropped]
    added = {name: one.params[name] for one in fits for name in one.added}
    lines += [f"  {name} is new to them: it counts as {value}" for name, value in added.items()]
    return lines


def _origin(source: Source, trial: FrozenTrial) -> dict[str, Any]:
    return {"study": source.key, "trial": trial.number}


def _key(origin: Mapping[str, Any]) -> tuple[Any, ...]:
    return origin.get("study"), origin.get("trial")


def _as_text(params: Mapping[str, Any]) -> str:
    return json.dumps(params, sort_keys=True)


def _new(study: StoredStudy) -> StoredStudy:
    name = known_of(study.study_name)
    optuna.create_study(study_name=name, storage=study.storage, direction="maximize")
    return StoredStudy(name, study.storage)
