"""A study whose space has changed goes on with those of its trials that the new space has too.

Optuna ties a study to the ranges that its trials were drawn from: a choice more is refused, and a
parameter of which some trials have another range, or none, is left out of joint models for good. So
the study is then written anew, each trial under its number and with the new ranges.
"""

from __future__ import annotations

import copy
import datetime as dt
import functools
import itertools
import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from search.architecture.refitting import Refitted, in_range
from search.common.errors import UserError
from search.common.text import counted
from search.common.values import mapping
from search.study import attributes
from search.study.companions import is_kept, kept_of
from search.study.parents import orphans
from search.study.settings import SAME_AS, same_as

if TYPE_CHECKING:
    from optuna.storages import BaseStorage

    from search.architecture.spaces import Space
    from search.study.storages.stored import StoredStudy

BEGUN, DONE = "begun", "done"  # of what replaces a study that is kept
SHOWN = 5  # numbers of trials in a line
OTHER = "the new space builds a different network from their parameters"
FIXED = "fixed_params"  # what a queued trial shall be: Optuna's key (docs/private_interfaces.md)


@dataclass(frozen=True, kw_only=True)
class Widening:
    """What becomes of a study's trials under another space."""

    trials: tuple[FrozenTrial, ...]  # all of them, in the order of their numbers
    lines: tuple[str, ...]  # the same in words
    changed: bool  # whether any trial is other than it was
    same: bool  # whether no trial was found to be another network now


def widen(trials: Sequence[FrozenTrial], space: Space) -> Widening:
    """Fit a study's trials to another space than they were drawn from.

    A trial goes on if each of its parameters lies in the new ranges; those that it lacks count as
    ``DEFAULTS`` of the space's file says, else as ``refitting.default_of``. Where parameters came
    or went, or a candidate is drawn anew whenever it is built, the new space must also make the
    same network of them, as far as its layers, costs and recipe tell. What does not go on is
    failed, and counts for nothing.

    Args:
        trials: All of the study.
        space: The new one.

    Raises:
        UserError: If a default that the file names is outside its range.
    """
    refit = functools.lru_cache(maxsize=None)(lambda params: space.refit(json.loads(params)))
    fresh: list[FrozenTrial] = []
    added: dict[str, Any] = {}
    left_out: dict[str, list[int]] = defaultdict(list)
    for trial in sorted(trials, key=lambda trial: trial.number):
        one = copy.deepcopy(trial)
        fresh.append(one)
        queued = mapping(trial.system_attrs.get(FIXED)) if _is_queued(trial) else {}
        if not trial.params and not queued:
            continue
        fitted = refit(json.dumps(trial.params or queued))
        reason = _reason(trial, fitted, space)
        if reason:
            left_out[reason].append(trial.number)
            _leave_out(one, reason)
        elif trial.params:
            one.params, one.distributions = dict(fitted.params), dict(fitted.ranges)
            added |= {name: fitted.params[name] for name in fitted.added}
        else:
            one.system_attrs[FIXED] = {n: v for n, v in queued.items() if n not in fitted.dropped}
    out = sum(map(len, left_out.values()))
    stay = len(fresh) - out
    verb = "is" if stay == 1 else "are"
    lines = [f"{stay:,} of {counted(len(fresh), 'trial')} {verb} kept"]
    lines += [f"{name} is new: they count as drawn with {value}" for name, value in added.items()]
    lines += [f"{_numbers(which)} left out: {reason}" for reason, which in left_out.items()]
    return Widening(
        trials=tuple(fresh),
        lines=tuple(lines),
        changed=any(map(_is_other, trials, fresh)),
        same=OTHER not in left_out,
    )


def _is_queued(trial: FrozenTrial) -> bool:
    return trial.state == TrialState.WAITING and not trial.params


def _reason(trial: FrozenTrial, fitted: Refitted, space: Space) -> str:
    """Why a trial does not go on; empty where it does."""
    if fitted.outside:
        return "; ".join(
            f"{name} is outside the new range ({in_range(fitted.ranges[name])})"
            for name in fitted.outside
        )
    text = attributes.CANDIDATE.of(trial)
    changed = fitted.added or fitted.dropped
    if text is None or not (_is_drawn(text) or changed):  # layers are written down whole
        return ""
    if fitted.candidate is None:
        return OTHER
    if not _is_drawn(text):
        return "" if space.write(fitted.candidate, {}) == text else OTHER
    try:
        costs = space.costs(fitted.candidate)
    except UserError:
        return OTHER
    made = {
        attributes.PARAMETERS.name: costs.parameters,
        attributes.MACS.name: costs.macs,
        attributes.LAYERS.name: [list(asdict(row).values()) for row in costs.layers],
        attributes.RECIPE.name: asdict(fitted.candidate.recipe),
        attributes.MODULES.name: {"kinds": costs.kinds, "dropout": costs.dropout},
    }
    made = json.loads(json.dumps(made))
    same = all(trial.user_attrs.get(name) == value for name, value in made.items())
    return "" if same else OTHER


def _is_drawn(candidate: str) -> bool:
    """Whether a candidate is written as what it is drawn from."""
    try:
        return "params" in mapping(json.loads(candidate))
    except ValueError:
        return False


def _is_other(before: FrozenTrial, after: FrozenTrial) -> bool:
    return any(
        getattr(before, what) != getattr(after, what)
        for what in ("state", "params", "distributions", "system_attrs")
    )


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


def with_digests(now: dict[str, Any], then: dict[str, Any], widened: Widening) -> dict[str, Any]:
    """New settings, which know the earlier texts of the space that make the same networks."""
    file = mapping(then.get("space_file"))
    known = {*same_as(then), *filter(None, [file.get("digest")])} if widened.same else set()
    space_file = mapping(now.get("space_file"))
    others = sorted(known - {space_file.get("digest")})
    return {**now, "space_file": {**space_file, **({SAME_AS: others} if others else {})}}


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
            "Stop it, or wait for it to end; where its machine is gone, fail its running trials in "
            "the dashboard",
        )


def name_to_keep(study: StoredStudy) -> str:
    """A name beside a study's that is free."""
    there = optuna.get_all_study_names(study.storage)
    names = (kept_of(study.study_name, at) for at in itertools.count(1))
    return next(name for name in names if name not in there)


def rewrite(
    study: StoredStudy, trials: Sequence[FrozenTrial], kept: str, new: Mapping[str, Any]
) -> None:
    """Write a study anew, under its name; hold the study's lock.

    Killed at any point, ``recover`` brings back what it was.

    Args:
        study: To be replaced.
        trials: What it shall hold.
        kept: The name under which what it was is kept.
        new: User attributes to be other than they are.
    """
    storage, name = study.storage, study.study_name
    _copy(name, kept, storage)
    was = optuna.load_study(study_name=kept, storage=storage)
    attributes.REPLACED.set(was, BEGUN)
    optuna.delete_study(study_name=name, storage=storage)
    fresh = optuna.create_study(study_name=name, storage=storage, directions=study.directions)
    there = storage.get_study_id_from_name(name)
    before = storage.get_study_id_from_name(kept)
    for key, value in storage.get_study_system_attrs(before).items():
        storage.set_study_system_attr(there, key, value)
    for key, value in {**was.user_attrs, **new}.items():
        if key != attributes.REPLACED.name:
            fresh.set_user_attr(key, value)
    fresh.add_trials(trials)
    attributes.REPLACED.set(was, DONE)


def recover(storage: BaseStorage, name: str) -> None:
    """Bring back a study that was being written anew when its process was killed.

    Hold the study's lock. What was kept whole takes its place again; half a copy is deleted.
    """
    for kept in filter(functools.partial(is_kept, of=name), optuna.get_all_study_names(storage)):
        state = attributes.REPLACED.of(optuna.load_study(study_name=kept, storage=storage))
        if state == DONE:
            continue
        if state == BEGUN:
            _copy(kept, name, storage)
            again = optuna.load_study(study_name=name, storage=storage)
            attributes.REPLACED.set(again, "")  # a later copy of it is not whole for that
        optuna.delete_study(study_name=kept, storage=storage)


def _copy(name: str, to: str, storage: BaseStorage) -> None:
    if to in optuna.get_all_study_names(storage):
        optuna.delete_study(study_name=to, storage=storage)
    optuna.copy_study(
        from_study_name=name, from_storage=storage, to_storage=storage, to_study_name=to
    )
