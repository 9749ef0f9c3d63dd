"""A study whose space has changed goes on with those of its trials that the new space has too.

Optuna ties a study to the ranges that its trials were drawn from: a choice more is refused, and a
parameter of which some trials have another range, or none, is left out of joint models for good. So
the study is written anew, each trial under its number and with the new ranges.
"""

from __future__ import annotations

import copy
import datetime as dt
import functools
import itertools
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from search.architecture.feasibility import distributions
from search.common.errors import UserError
from search.common.text import counted
from search.common.values import mapping
from search.study import attributes
from search.study.companions import kept_of, rewritten_of
from search.study.parents import orphans
from search.study.transfer.fitting import Fitted, fit, in_range

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from search.architecture.spaces import Space
    from search.study.storages.stored import StoredStudy

SHOWN = 5  # numbers of trials in a line


@dataclass(frozen=True, kw_only=True)
class Widening:
    """What becomes of a study's trials under another space."""

    trials: tuple[FrozenTrial, ...]  # all of them, in the order of their numbers
    lines: tuple[str, ...]  # the same in words


def widen(trials: Sequence[FrozenTrial], space: Space) -> Widening:
    """Fit a study's trials to another space than they were drawn from.

    A trial goes on if each of its parameters lies in the new ranges; those that it lacks count as
    ``DEFAULTS`` of the space's file says, else as ``fitting.default_of``. Where parameters came or
    went, or a candidate is drawn anew whenever it is built, the new space must also make the same
    network of them. What does not go on is failed, and counts for nothing.

    Args:
        trials: All of the study.
        space: The new one.
    """
    ranges = distributions(space)
    network = functools.lru_cache(maxsize=None)(functools.partial(_made, space))
    fresh: list[FrozenTrial] = []
    added: dict[str, Any] = {}
    left_out: dict[str, list[int]] = defaultdict(list)
    for trial in sorted(trials, key=lambda trial: trial.number):
        one = copy.deepcopy(trial)
        fresh.append(one)
        if not trial.params:  # waits, or failed before anything was drawn
            continue
        fitted = fit(trial.params, ranges, space.file.defaults)
        outside = [
            f"{name} is outside the new range ({in_range(ranges[name])})"
            for name in (*fitted.moved, *fitted.lost)
        ]
        if not outside and _depends(trial, fitted):
            made = network(json.dumps(fitted.params))
            if made is None or not made.is_of(trial):
                outside = ["the new space builds a different network from their parameters"]
            else:
                one.user_attrs[attributes.CANDIDATE.name] = made.text
        if outside:
            left_out["; ".join(outside)].append(trial.number)
            _leave_out(one, "; ".join(outside))
            continue
        one.params, one.distributions = dict(fitted.params), dict(ranges)
        added |= {name: fitted.params[name] for name in fitted.added}
    out = sum(map(len, left_out.values()))
    lines = [f"{len(fresh) - out:,} of {counted(len(fresh), 'trial')} are kept"]
    lines += [f"{name} is new: they count as drawn with {value}" for name, value in added.items()]
    lines += [f"{_numbers(which)} left out: {reason}" for reason, which in left_out.items()]
    return Widening(trials=tuple(fresh), lines=tuple(lines))


def _depends(trial: FrozenTrial, fitted: Fitted) -> bool:
    """Whether it is to be asked which network the new space makes of a trial's parameters.

    Layers are written down whole. Where parameters came or went they may still be other ones.
    """
    text = attributes.CANDIDATE.of(trial)
    return text is not None and (_is_drawn(text) or bool(fitted.added or fitted.dropped))


def _is_drawn(candidate: str) -> bool:
    """Whether a candidate is written as what it is drawn from."""
    try:
        return "params" in mapping(json.loads(candidate))
    except ValueError:
        return False


@dataclass(frozen=True, kw_only=True)
class _Made:
    """What a space makes of parameters, as a trial records it."""

    text: str
    recorded: dict[str, Any]  # user attributes by name; JSON values

    def is_of(self, trial: FrozenTrial) -> bool:
        """Whether it is what a trial was of."""
        text = attributes.CANDIDATE.of(trial) or ""
        if not _is_drawn(text):
            return text == self.text
        return all(trial.user_attrs.get(name) == value for name, value in self.recorded.items())


def _made(space: Space, params: str) -> _Made | None:
    """What a space makes of parameters, which are JSON; None where it raises."""
    drawn = json.loads(params)
    try:
        candidate = space.suggest(FixedTrial(drawn))
        costs = space.costs(candidate)
    except (UserError, optuna.TrialPruned):
        return None
    recorded = {
        attributes.PARAMETERS.name: costs.parameters,
        attributes.MACS.name: costs.macs,
        attributes.LAYERS.name: [list(asdict(row).values()) for row in costs.layers],
        attributes.RECIPE.name: asdict(candidate.recipe),
        attributes.MODULES.name: {"kinds": costs.kinds, "dropout": costs.dropout},
    }
    return _Made(text=space.write(candidate, drawn), recorded=json.loads(json.dumps(recorded)))


def _leave_out(trial: FrozenTrial, reason: str) -> None:
    now = dt.datetime.now()
    trial.state, trial.values = TrialState.FAIL, None
    trial.params, trial.distributions = {}, {}
    trial.datetime_start, trial.datetime_complete = trial.datetime_start or now, now
    trial.user_attrs[attributes.LEFT_OUT.name] = True
    trial.user_attrs[attributes.REASON.name] = f"left out: {reason}"


def _numbers(numbers: Sequence[int]) -> str:
    shown = ", ".join(map(str, numbers[:SHOWN]))
    more = f" and {len(numbers) - SHOWN:,} more" if len(numbers) > SHOWN else ""
    return f"{'trial' if len(numbers) == 1 else 'trials'} {shown}{more}"


def refuse_shared(trials: Sequence[FrozenTrial], name: str) -> None:
    """Refuse to write a study anew that another command is at.

    Raises:
        UserError: If any of its trials is being trained.
    """
    gone = orphans(trials, ())
    if any(t.state == TrialState.RUNNING and t.number not in gone for t in trials):
        raise UserError(
            f"another command is searching {name!r}: until it ends, its trials cannot be fitted to "
            "another space",
            "Stop it, or wait for it to end",
        )


def name_to_keep(study: StoredStudy) -> str:
    """A name beside a study's that is free."""
    there = optuna.get_all_study_names(study.storage)
    names = (kept_of(study.study_name, at) for at in itertools.count(1))
    return next(name for name in names if name not in there)


def rewrite(study: StoredStudy, widened: Widening, settings: dict[str, Any], kept: str) -> None:
    """Write a study anew, under its name; hold the study's lock.

    Killed at any point, ``finish_rewriting`` ends it.

    Args:
        study: To be replaced.
        widened: What it shall hold.
        settings: Its new ones.
        kept: The name under which the old one is kept.
    """
    storage, name = study.storage, study.study_name
    fresh = optuna.create_study(
        study_name=rewritten_of(name), storage=storage, directions=study.directions
    )
    for key, value in study.user_attrs.items():
        fresh.set_user_attr(key, value)
    fresh.add_trials(widened.trials)
    attributes.SETTINGS.set(fresh, settings)
    attributes.KEPT_AS.set(fresh, kept)  # the last: now it is whole
    finish_rewriting(storage, name)


def finish_rewriting(storage: BaseStorage, name: str) -> None:
    """Put a study that was written anew in its place; does nothing where there is none.

    Hold the study's lock. Each step may be done again: a study without settings is one that was
    being copied when its process was killed.
    """
    there = optuna.get_all_study_names(storage)
    if rewritten_of(name) not in there:
        return
    fresh = optuna.load_study(study_name=rewritten_of(name), storage=storage)
    kept, settings = attributes.KEPT_AS.of(fresh), attributes.SETTINGS.of(fresh)
    if not kept:
        optuna.delete_study(study_name=rewritten_of(name), storage=storage)
        return
    now = optuna.load_study(study_name=name, storage=storage) if name in there else None
    if now is not None and attributes.SETTINGS.of(now) not in ({}, settings):
        _copy(name, kept, storage)
    if now is not None:
        optuna.delete_study(study_name=name, storage=storage)
    _copy(rewritten_of(name), name, storage)
    optuna.delete_study(study_name=rewritten_of(name), storage=storage)


def _copy(name: str, to: str, storage: BaseStorage) -> None:
    if to in optuna.get_all_study_names(storage):  # half of it
        optuna.delete_study(study_name=to, storage=storage)
    optuna.copy_study(
        from_study_name=name, from_storage=storage, to_storage=storage, to_study_name=to
    )
