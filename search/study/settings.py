"""What a study was begun with: written into it, and compared when it is resumed."""

from __future__ import annotations

import hashlib
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from search.common.errors import UserError
from search.data.problem import MNIST_PROBLEM, Problem
from search.study.attributes import CHANGES, mapping

if TYPE_CHECKING:
    import optuna
    from optuna.distributions import BaseDistribution

    from objective import Settings


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


def distributions(max_params: int, problem: Problem) -> dict[str, BaseDistribution]:
    """Every parameter that the space draws, with its range."""
    import optuna

    from objective import Limits
    from search.candidates import suggest

    trial = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()
    suggest(trial, Limits(max_params=max_params), problem)
    return trial.distributions


def describe_space(max_params: int, problem: Problem = MNIST_PROBLEM) -> dict[str, str]:
    """Every parameter of the space with its range, as text: equal for equal spaces."""
    from optuna.distributions import distribution_to_json

    return {
        name: json.dumps(json.loads(distribution_to_json(distribution)))
        for name, distribution in distributions(max_params, problem).items()
    }


def simplest_start(
    max_params: int, problem: Problem = MNIST_PROBLEM
) -> dict[str, float | int | str]:
    """The space's simplest candidate, as parameters to enqueue.

    One feasible trial at the start shows the sampler that there is room within the limit. Whole
    numbers are at their low end, for few and narrow layers, and what is continuous is in the
    middle: at an end it would teach the sampler to stay away from there because the network is
    poor.
    """
    import optuna

    start: dict[str, float | int | str] = {}
    for name, distribution in distributions(max_params, problem).items():
        if isinstance(distribution, optuna.distributions.CategoricalDistribution):
            start[name] = distribution.choices[0]  # type: ignore[assignment]
        elif isinstance(distribution, optuna.distributions.IntDistribution):
            start[name] = distribution.low
        elif isinstance(distribution, optuna.distributions.FloatDistribution):
            low, high = distribution.low, distribution.high
            start[name] = math.sqrt(low * high) if distribution.log else (low + high) / 2
    return start


def code_fingerprint(root: Path) -> str:
    """A digest of the program's files on which a trial's figures depend."""
    files = [root / "space.py", root / "objective.py", root / "search" / "candidates.py"]
    files += [root / "search" / "study" / "sampling.py"]
    for room in ("common", "data", "layers", "training"):
        files += sorted((root / "search" / room).rglob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()[:12]


def describe(settings: Settings, *, sampler: str, pruner: str) -> dict[str, Any]:
    """Everything that a study's figures depend on, as JSON values.

    Raises:
        UserError: If there are fewer training images than asked for.
    """
    from search.data.dataset import validation_size

    file_images = _images_in_file(settings)
    validation = validation_size(file_images)
    most = file_images - validation
    if (settings.train_images or 0) > most:
        raise UserError(
            f"{settings.source.name} has {most:,} images to train on, "
            f"but --train-images asks for {settings.train_images:,}",
            "Give fewer, or leave it out to train on all",
        )
    return {
        "max_params": settings.limits.max_params,
        "max_macs": settings.limits.max_macs,
        "epochs": settings.epochs,
        "seed": settings.seed,
        "sampler": sampler,
        "pruner": pruner,
        "target": settings.problem.target,
        "arithmetic": str(settings.arithmetic),
        "dataset": {
            "name": settings.source.name,
            "fingerprint": settings.source.fingerprint,
            "classes": settings.problem.classes,
            "train_images": settings.train_images or most,
            "validation_images": validation,
        },
        "space": describe_space(settings.limits.max_params, settings.problem),
        "code": code_fingerprint(Path(__file__).resolve().parents[2]),
    }


def _images_in_file(settings: Settings) -> int:
    from search.data.dataset import load_training

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
    from search.architecture.feasibility import first_candidate
    from search.common.interrupts import uninterrupted
    from search.study.storages.locks import study_lock
    from search.study.storages.opening import create_study

    now = describe(settings, sampler=sampler, pruner=pruner)
    with study_lock(storage), uninterrupted():
        study = create_study(storage, name)
        then = study.user_attrs.get("settings")
        if then is None and not study.get_trials(deepcopy=False):
            study.set_user_attr("settings", now)
            study.enqueue_trial(
                first_candidate(settings.limits, settings.problem),
                user_attrs={"label": "simplest candidate"},
            )
            return study
    differing = differences(mapping(then), now)
    if differing and not continue_anyway:
        print_differences(differing)
        raise UserError(
            f"the study {name!r} was begun with other settings, see above",
            "Give the same settings, another --storage or --study, or --continue-anyway",
        )
    if differing:
        study.set_user_attr("settings", now)
        record = CHANGES.of(study)
        changes = [f"{name}: {in_words(a)} → {in_words(b)}" for name, a, b in differing]
        study.set_user_attr("continued_with_other_settings", [*record, changes])
    return study


def differences(
    then: dict[str, Any], now: dict[str, Any], prefix: str = ""
) -> list[tuple[str, Any, Any]]:
    """Each setting that differs: its name, its value then and now."""
    found = []
    for key in sorted(then.keys() | now.keys()):
        before, after = then.get(key), now.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            found += differences(before, after, f"{prefix}{key}.")
        elif before != after:
            found.append((prefix + key, before, after))
    return found


def print_differences(differing: list[tuple[str, Any, Any]]) -> None:
    """A small table on the error stream."""
    from rich.table import Table

    from search.console.terminal import Terminal

    table = Table("setting", "the study's", "now", box=None, padding=(0, 2, 0, 0))
    for name, before, after in differing:
        table.add_row(name, in_words(before), in_words(after))
    Terminal(sys.stderr).print(table, soft_wrap=True)


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
