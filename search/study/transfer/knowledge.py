"""What a search knows from other studies: their best to begin with, all of it for its sampler.

The trainings of other studies lie in a study beside the search's, as they were drawn: their limits,
images and spaces may be others. They are fitted to the search's space whenever it begins.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.architecture.feasibility import distributions
from search.common.errors import UserError
from search.common.text import counted
from search.common.values import mapping, text
from search.study.attributes import DRAWN, LABEL, ORIGIN, SETTINGS
from search.study.companions import known_of
from search.study.sampling.racing import Trained, trained
from search.study.storages.naming import open_named, place_of
from search.study.storages.opening import is_ours
from search.study.storages.stored import StoredStudy
from search.study.transfer.fitting import Fitted, fit, in_range

if TYPE_CHECKING:
    from search.architecture.spaces import Space

BEST = 10  # candidates that a search begins with, of all studies together
MOST = 300  # trainings that are taken from a study, as many as a model learns from


@dataclass(frozen=True, kw_only=True)
class Source:
    """A study to learn from."""

    place: str  # its whole path or URL, and its name
    name: str  # the same in short
    about: str  # images and limit, in words
    found: tuple[Trained, ...]  # its candidates, best first

    def trainings(self) -> list[tuple[FrozenTrial, float]]:
        """Trainings with their accuracies: all, or so many from the best to the worst."""
        every = [pair for one in self.found for pair in zip(one.seeds, one.scores, strict=True)]
        step = max(1.0, len(every) / MOST)
        return [every[int(at * step)] for at in range(min(MOST, len(every)))]


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
    there = open_named(named)
    study, shown = there.study, there.short(2)
    is_itself = there.key == place_of(storage, name)
    found = trained(study.get_trials(deepcopy=False), StudyDirection.MAXIMIZE)
    for is_wrong, what in (
        (is_itself, "is the study itself"),
        (not is_ours(study), "is not a study of this tool"),
        (not found, "has no complete trial"),
    ):
        if is_wrong:
            raise UserError(f"{shown} {what}", "Leave it out of --from")
    settings = SETTINGS.of(study)
    images = text(mapping(settings.get("dataset")).get("name"))
    return Source(
        place="/".join(there.key),
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
        fits = [(one, _fit(one.first.params, space)) for one in source.found]
        queues.append([(source, one, fitted) for one, fitted in fits if not fitted.lost])
        fresh = [
            create_trial(value=score, user_attrs={DRAWN.name: seed.params, ORIGIN.name: origin})
            for seed, score in source.trainings()
            if _key(origin := _origin(source, seed)) not in there
        ]
        beside.add_trials(fresh)
        if fresh:
            lines += _described(source, [fitted for _, fitted in fits], space)
        else:
            lines.append(f"from {source.name}: nothing new")
    best: dict[frozenset[tuple[str, Any]], tuple[Source, Trained, Fitted]] = {}
    for one in itertools.chain.from_iterable(itertools.zip_longest(*queues)):
        if one is not None:
            best.setdefault(frozenset(one[2].params.items()), one)
    queued = _queue(study, list(best.values())[:BEST])
    lines.append(f"{counted(queued, 'candidate')} of theirs queued")
    return lines


def _queue(study: StoredStudy, best: Sequence[tuple[Source, Trained, Fitted]]) -> int:
    """Queue those of some candidates that a study does not have; returns how many."""
    trials = study.get_trials(deepcopy=False)
    there = {_key(ORIGIN.of(trial)) for trial in trials}
    known = [trial.params for trial in trials]
    queued = 0
    for source, one, fitted in best:
        origin = _origin(source, one.first)
        if _key(origin) in there or fitted.params in known:
            continue
        label = f"from {source.name}, trial {one.first.number}"
        known.append(dict(fitted.params))
        study.enqueue_trial(known[-1], user_attrs={LABEL.name: label, ORIGIN.name: origin})
        queued += 1
    return queued


def known_to(study: StoredStudy, space: Space) -> list[FrozenTrial]:
    """What a search's sampler learns from beside its own trials: complete trials of its space.

    Args:
        study: The search's.
        space: Its.
    """
    beside = study.companion(known_of(study.study_name))
    if beside is None:
        return []
    ranges = distributions(space)
    known = []
    for trial in beside.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)):
        fitted = _fit(DRAWN.of(trial), space)
        if not fitted.lost:
            params = dict(fitted.params)
            known.append(create_trial(value=trial.value, params=params, distributions=ranges))
    return known


def _described(source: Source, fits: Sequence[Fitted], space: Space) -> list[str]:
    """A study in a line, and what of it the space does not have."""
    ranges = distributions(space)
    seeds = sum(len(one.seeds) for one in source.found)
    lines = [
        f"from {source.name} ({source.about}): {counted(seeds, 'training')} of "
        f"{counted(len(fits), 'candidate')}"
    ]
    for names, what in (
        ([name for one in fits for name in one.moved], "the nearest value is used"),
        ([name for one in fits for name in one.lost], "they are left out"),
    ):
        lines += [
            f"  {name} is outside the range ({in_range(ranges[name])}) in {count:,} of them: {what}"
            for name, count in Counter(names).items()
        ]
    dropped = dict.fromkeys(name for one in fits for name in one.dropped)
    lines += [f"  {name} is not a parameter of this space: it is ignored" for name in dropped]
    added = {name: one.params[name] for one in fits for name in one.added}
    lines += [f"  {name} is new to them: it counts as {value}" for name, value in added.items()]
    return lines


def _fit(params: Mapping[str, Any], space: Space) -> Fitted:
    return fit(params, distributions(space), space.file.defaults)


def _origin(source: Source, trial: FrozenTrial) -> dict[str, Any]:
    return {"study": source.place, "trial": trial.number}


def _key(origin: Mapping[str, Any]) -> tuple[Any, ...]:
    return origin.get("study"), origin.get("trial")


def _new(study: StoredStudy) -> StoredStudy:
    name = known_of(study.study_name)
    optuna.create_study(study_name=name, storage=study.storage, direction="maximize")
    return StoredStudy(name, study.storage)
