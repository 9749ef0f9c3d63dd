"""What a study was begun with: written into it, and compared when it is resumed."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.engine.errors import UserError

if TYPE_CHECKING:
    import optuna

    from objective import Settings

TARGET = 0.994  # the accuracy of the exercise that this search grew from


def commit(root: Path) -> str:
    """The commit of this program with ``-dirty`` for changes, or ``unknown`` outside git."""
    try:
        described = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty", "--abbrev=12"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return "unknown"
    return described.stdout.strip()


def describe(settings: Settings, *, sampler: str, pruner: str) -> dict[str, Any]:
    """Everything that a study's figures depend on, as JSON values."""
    from objective import describe_space
    from search.engine.dataset import validation_size

    file_images = _images_in_file(settings)
    validation = validation_size(file_images)
    return {
        "max_params": settings.limits.max_params,
        "max_macs": settings.limits.max_macs,
        "epochs": settings.epochs,
        "seed": settings.seed,
        "sampler": sampler,
        "pruner": pruner,
        "target": TARGET,
        "precision": "bfloat16" if settings.bfloat16 else "float32",
        "dataset": {
            "name": settings.source.name,
            "fingerprint": settings.source.fingerprint,
            "train_images": min(settings.train_images or file_images, file_images - validation),
            "validation_images": validation,
        },
        "space": describe_space(settings.limits.max_params),
    }


def _images_in_file(settings: Settings) -> int:
    from search.engine.dataset import load_training

    return sum(len(split) for split in load_training(settings.source))


def open_for_search(
    storage: str,
    name: str,
    settings: Settings,
    *,
    sampler: str,
    pruner: str,
    continue_anyway: bool,
) -> optuna.Study:
    """Create the study with its settings, or open it if its settings are the same.

    Raises:
        UserError: If they differ and ``continue_anyway`` was not given.
    """
    from objective import smallest_start
    from search.engine.storage import create_study, study_lock

    now = describe(settings, sampler=sampler, pruner=pruner)
    with study_lock(storage):
        study = create_study(storage, name)
        then = study.user_attrs.get("settings")
        if then is None and not study.get_trials(deepcopy=False):
            study.set_user_attr("settings", now)
            study.enqueue_trial(
                smallest_start(settings.limits.max_params),
                user_attrs={"label": "smallest candidate"},
            )
            return study
    differing = differences(then or {}, now)
    if differing and not continue_anyway:
        raise UserError(
            f"the study {name!r} was begun with other settings: {'; '.join(differing)}",
            "Give the same settings, another --storage or --study, or --continue-anyway",
        )
    if differing:
        study.set_user_attr("settings", now)
        record = study.user_attrs.get("continued_with_other_settings", [])
        study.set_user_attr("continued_with_other_settings", [*record, differing])
    return study


def differences(then: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """Each setting that differs, as ``name: then, now``."""
    found = []
    for key in sorted(then.keys() | now.keys()):
        before, after = then.get(key), now.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append(f"{prefix}{key} was {before}, now {after}")
    return found
