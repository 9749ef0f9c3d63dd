"""A study's settings when it is resumed: the same as those that it was begun with, or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from search.common.errors import UserError
from search.common.interrupts import uninterrupted
from search.study.attributes import CHANGES, LABEL, SETTINGS
from search.study.storages.locks import study_lock
from search.study.storages.opening import create_study

if TYPE_CHECKING:
    import optuna

Difference = tuple[str, Any, Any]  # a setting's name, its value then and now


def open_for_search(
    storage: str,
    name: str,
    now: dict[str, Any],
    first: Callable[[], dict[str, Any]],
    *,
    continue_anyway: bool,
    show: Callable[[list[Difference]], None],
) -> optuna.Study:
    """Create the study with its settings, or open it if its settings are the same.

    Args:
        storage: A URL or the path of an SQLite file.
        name: The study's.
        now: The settings, as ``settings.describe`` gives them.
        first: Parameters to begin a new study with.
        continue_anyway: Go on with other settings, and record that.
        show: Shows the differences, where they end the command.

    Raises:
        UserError: If they differ and ``continue_anyway`` was not given.
    """
    with study_lock(storage), uninterrupted():
        study = create_study(storage, name)
        then = SETTINGS.of(study)
        if not then and not study.get_trials(deepcopy=False):
            SETTINGS.set(study, now)
            study.enqueue_trial(first(), user_attrs={LABEL.name: "simplest candidate"})
            return study
    differing = differences(then, now)
    if differing and not continue_anyway:
        show(differing)
        raise UserError(
            f"the study {name!r} was begun with other settings, see above",
            "Give the same settings, another --storage or --study, or --continue-anyway",
        )
    if differing:
        SETTINGS.set(study, now)
        record = CHANGES.of(study)
        changes = [f"{name}: {in_words(a)} → {in_words(b)}" for name, a, b in differing]
        CHANGES.set(study, [*record, changes])
    return study


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[Difference]:
    """Each setting that differs: its name, its value then and now.

    What an older version did not record is none where something else that it did record tells:
    a data set's shape, classes and statistics follow from its fingerprint, and which space a
    search had from the parameters that it draws.
    """
    now = {name: value for name, value in now.items() if name != "space_file" or name in then}
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
