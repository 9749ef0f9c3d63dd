"""Trains a trial again from what its study holds, seed included."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from search.architecture.limits import Limits, recorded_limits
from search.common import values
from search.common.allocator import keep_freed_memory
from search.common.errors import UserError
from search.common.output import say
from search.data.images import load_images
from search.data.problem import recorded_problem
from search.study import attributes
from search.study.settings import Settings, space_of_study
from search.training.arithmetic import Arithmetic
from search.training.loop import fit

if TYPE_CHECKING:
    from optuna import Study
    from optuna.trial import FrozenTrial

    from search.candidates.candidate import AnyCandidate
    from search.data.dataset import DataSource
    from search.training.epoch import Epoch
    from search.training.loop import Fit


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What a study holds of a trial that was trained."""

    number: int
    candidate: str  # JSON
    parameters: int | None
    seed: int
    device: str
    curve: dict[int, float]  # validation accuracy by epoch
    versions: dict[str, str]
    commit: str
    trained_on: dict[str, Any]  # data and epochs; empty of older trials, whose study tells


def recorded(study: Study, number: int) -> Recorded:
    """Look up a trial.

    Raises:
        UserError: If there is no such trial, or it was not trained by this tool.
    """
    trials: list[FrozenTrial] = study.get_trials(deepcopy=False)
    if number >= len(trials):
        there = f"Its trials are 0 to {len(trials) - 1}" if trials else "It has none yet"
        raise UserError(f"the study has no trial {number}", there)
    trial = trials[number]
    seed, candidate = attributes.SEED.of(trial), attributes.CANDIDATE.of(trial)
    if not trial.intermediate_values or seed is None or candidate is None:
        reason = attributes.REASON.of(trial) or trial.state.name.lower()
        raise UserError(
            f"trial {number} was not trained ({reason})", "Name one that finished an epoch"
        )
    return Recorded(
        number=number,
        candidate=candidate,
        parameters=attributes.PARAMETERS.of(trial),
        seed=seed,
        device=attributes.DEVICE.of(trial),
        curve=dict(sorted(trial.intermediate_values.items())),
        versions=attributes.VERSIONS.of(trial),
        commit=attributes.COMMIT.of(trial),
        trained_on=attributes.TRAINED_ON.of(trial),
    )


def settings_of_trial(
    trial: Recorded, study: Study, source: DataSource, space: Path | None = None
) -> Settings:
    """What the trial was trained under, on the device that it names.

    Raises:
        UserError: If the data set is another one, or the study does not say for how long.
    """
    settings = attributes.SETTINGS.of(study)
    dataset = values.mapping(settings.get("dataset"))
    under = trial.trained_on or {**dataset, "epochs": settings.get("epochs")}
    if under.get("fingerprint") != source.fingerprint:
        name = dataset.get("name") if under.get("fingerprint") == dataset.get("fingerprint") else ""
        raise UserError(
            f"trial {trial.number} was trained on {name or 'other data'}, not on {source.name}",
            "Give --data, and --image-size if the search had it",
        )
    epochs = values.positive(under.get("epochs"))
    if epochs is None:
        raise UserError(
            f"trial {trial.number} does not say how long it trained", "Take another one"
        )
    return Settings(
        source=source,
        space_file=space_of_study(settings, space),
        limits=Limits(**recorded_limits(settings)),
        epochs=epochs,
        target=recorded_problem(settings).target,
        train_images=values.positive(under.get("train_images")),
        device=trial.device.split(" ")[0],
        arithmetic=Arithmetic.parse(trial.device),
    )


def read_candidate(trial: Recorded, settings: Settings) -> AnyCandidate:
    """The trial's candidate.

    Raises:
        UserError: If it cannot be read, was drawn from another space, or is another one now.
    """
    try:
        candidate = settings.space.read(trial.candidate)
    except ValueError as error:
        raise UserError(
            f"trial {trial.number}'s candidate cannot be read: {error}", "Take another trial"
        ) from None
    has = settings.space.costs(candidate).parameters
    if trial.parameters not in (None, has):
        raise UserError(
            f"trial {trial.number} had {trial.parameters:,} parameters, but now "
            f"{settings.space_file.name} draws a network with {has:,} from it",
            "What a space returns must follow from the trial alone",
        )
    return candidate


def say_adjusted(candidate: AnyCandidate, settings: Settings) -> None:
    """Print what is trained otherwise than the candidate's recipe asks, if anything is."""
    images = settings.train_images or candidate.recipe.batch_size
    for sentence in candidate.recipe.adjusted(epochs=settings.epochs, images=images):
        say(f"deviations from its recipe: {sentence}")


def repeat(trial: Recorded, settings: Settings, on_epoch: Callable[[Epoch], None]) -> Fit:
    """Train the trial's candidate again, from the same seed.

    Args:
        trial: What to train.
        settings: From ``settings_of_trial``.
        on_epoch: Called after every epoch; what it raises ends the training.

    Raises:
        UserError: If the candidate cannot be read.
    """
    torch.set_num_threads(1)
    keep_freed_memory()
    candidate = read_candidate(trial, settings)
    train, validation = load_images(
        settings.source, settings.device, train_images=settings.train_images
    )
    return fit(
        candidate.build,
        candidate.recipe,
        train,
        validation,
        epochs=candidate.recipe.epochs_within(settings.epochs),
        seed=trial.seed,
        arithmetic=settings.arithmetic,
        on_epoch=on_epoch,
    )
