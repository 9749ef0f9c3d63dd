"""A study's settings when it is resumed: the same as those that it was begun with, or not."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from search.architecture.feasibility import first_candidate
from search.common.errors import UserError
from search.common.interrupts import uninterrupted
from search.study.attributes import CHANGES, LABEL, SETTINGS
from search.study.settings import SAME_AS
from search.study.storages.locks import study_lock
from search.study.storages.opening import connect, create_study, readable_errors
from search.study.transfer.widening import (
    name_to_keep,
    recover,
    refuse_shared,
    rewrite,
    widen,
    with_digests,
)

if TYPE_CHECKING:
    from search.architecture.spaces import Space
    from search.study.storages.stored import StoredStudy

Difference = tuple[str, Any, Any]  # a setting's name, its value then and now


def open_for_search(
    storage: str,
    name: str,
    now: dict[str, Any],
    space: Space,
    *,
    continue_anyway: bool,
    show: Callable[[list[Difference], Sequence[str]], None],
) -> StoredStudy:
    """Create the study with its settings, or open it if its settings are the same.

    A study whose space has changed is fitted to it (``transfer.widening``).

    Args:
        storage: A URL or the path of an SQLite file.
        name: The study's.
        now: The settings, as ``settings.describe`` gives them.
        space: What is drawn now.
        continue_anyway: Go on with other settings, and record that.
        show: Shows the differences, and in lines what becomes of the trials.

    Raises:
        UserError: If they differ and ``continue_anyway`` was not given.
    """
    with study_lock(storage), uninterrupted():
        recover(connect(storage), name)
        study = create_study(storage, name)
        then, trials = SETTINGS.of(study), study.get_trials(deepcopy=False)
        if not then and not trials:
            SETTINGS.set(study, now)
            first = first_candidate(space)
            study.enqueue_trial(first, user_attrs={LABEL.name: "simplest candidate"})
            return study
        differing = differences(then, now)
        if not differing:
            return study
        lines: list[str] = []
        widened = None
        if any(setting.startswith("space") for setting, *_ in differing):
            widened, kept = widen(trials, space), name_to_keep(study)
            lines += widened.lines
            lines += [f"the study as it is now is kept as {kept!r}"] if widened.changed else []
        would = "" if continue_anyway else "with --continue-anyway: "
        show(differing, [f"{would}{line}" for line in lines])
        if not continue_anyway:
            raise UserError(
                f"the study {name!r} was begun with other settings, see above",
                "Give the same settings, another --storage or --study, or --continue-anyway",
            )
        changes = [f"{setting}: {in_words(a)} → {in_words(b)}" for setting, a, b in differing]
        now = with_digests(now, then, widened) if widened else now
        new = {SETTINGS.name: now, CHANGES.name: [*CHANGES.of(study), [*changes, *lines]]}
        if widened and widened.changed:
            refuse_shared(trials, name)
            with readable_errors(storage):
                rewrite(study, widened.trials, kept, new)
            return create_study(storage, name)
        for attribute, value in new.items():
            study.set_user_attr(attribute, value)
    return study


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[Difference]:
    """Each setting that differs: its name, its value then and now.

    What an older version did not record is none where something else that it did record tells:
    a data set's shape, classes and statistics follow from its fingerprint, and which space a
    search had from the parameters that it draws.
    """
    now = {name: value for name, value in now.items() if name != "space_file" or name in then}
    if isinstance(then.get("space_file"), dict):  # what it knows beside is no difference
        then = {**then, "space_file": {**then["space_file"]}}
        then["space_file"].pop(SAME_AS, None)
    old, new = then.get("dataset"), now.get("dataset")
    if isinstance(old, dict) and isinstance(new, dict):
        if old.get("fingerprint") == new.get("fingerprint"):
            new = {name: value for name, value in new.items() if name in old}
        now["dataset"] = new
    return _differing(then, now, "")


def _differing(then: dict[str, Any], now: dict[str, Any], prefix: str) -> list[Difference]:
    found = []
    for key in sorted(then.keys() | now.keys()):
        before, after = then.get(key), now.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += _differing(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append((prefix + key, before, after))
    return found


def in_words(value: Any) -> str:
    """A setting's value as a person reads it: a parameter's distribution as its range."""
    try:
        distribution = json.loads(value) if isinstance(value, str) else {}
        attributes = distribution["attributes"]
        if "choices" in attributes:
            return " or ".join(map(str, attributes["choices"]))
        log = ", log" if attributes["log"] else ""
        return f"{attributes['low']} to {attributes['high']}{log}"
    except (ValueError, KeyError, TypeError):
        return "–" if value is None else str(value)
