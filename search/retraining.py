"""Trains what is queued, with seeds of its own, and judges it once after its last epoch."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import optuna

import space
from objective import Settings, device_name, load_images, note, note_adjusted, versions
from search.engine.claims import first_number
from search.engine.companions import FINALIST

if TYPE_CHECKING:
    from search.engine.images import Images
    from search.engine.training import Epoch


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One training of one candidate; what the trial is queued with."""

    kind: str  # shortlist, finalist or reference
    label: str
    candidate: str  # JSON
    seed: int
    rank: int | None = None  # on the search's leaderboard
    search_trial: int | None = None

    def to_attribute(self) -> dict[str, Any]:
        """Plain values for a trial's user attribute."""
        return asdict(self)


class Retraining(ABC):
    """Judges one training at a time; made once in each worker.

    The value is the accuracy after the last epoch. Nothing is looked at before: neither the
    schedule nor the epoch that is kept depends on held-out images.
    """

    judged_on: ClassVar[str]  # test or validation: what the recorded figures are named after

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def load(self) -> tuple[Images, Images]:
        """The images to train on and those to judge by, on the settings' device."""

    def __call__(
        self, trial: optuna.Trial, should_stop: Callable[[], bool] = lambda: False
    ) -> float:
        """Train and judge.

        Raises:
            search.engine.errors.TrainingError: If the loss is not finite.
            search.engine.errors.InterruptedTraining: If ``should_stop`` said so.
        """
        import torch

        from search.engine.checkpoint import Checkpoint, checkpoint_path
        from search.engine.network import make_network
        from search.engine.notes import save_note
        from search.engine.training import evaluate, fit

        entry = Entry(**trial.user_attrs[FINALIST])
        candidate = space.Candidate.from_json(entry.candidate)
        settings, started = self.settings, time.perf_counter()
        training, held_out = self._images
        epochs = candidate.recipe.epochs_within(settings.epochs)
        device = device_name(settings)
        self._describe(trial, entry, candidate, device)
        note_adjusted(trial, candidate, epochs=settings.epochs, images=len(training))
        save_note(trial, note(candidate))

        def on_epoch(epoch: Epoch) -> None:
            trial.set_user_attr("epochs", epoch.number)

        checkpoint = None
        if settings.checkpoints is not None:
            number = first_number(trial)
            identity = f"{entry}/{epochs}/{device}/{settings.source.fingerprint}/{versions()}"
            identity += f"/{len(training)}"
            path = checkpoint_path(settings.checkpoints, trial.study.study_name, number)
            checkpoint = Checkpoint(path=path, identity=identity)
        trained = fit(
            lambda: space.build(candidate),
            candidate.recipe,
            training,
            None,
            epochs=epochs,
            seed=entry.seed,
            arithmetic=settings.arithmetic,
            checkpoint=checkpoint,
            on_epoch=on_epoch,
            should_stop=should_stop,
        )
        network = make_network(trained.model, settings.arithmetic, torch.device(settings.device))
        accuracy, loss = evaluate(network, held_out)
        for name, value in {
            f"{self.judged_on}_accuracy": accuracy,
            f"{self.judged_on}_correct": round(accuracy * len(held_out)),
            f"{self.judged_on}_loss": loss,
            "training_loss": trained.epochs[-1].training_loss,
            "seconds": round(time.perf_counter() - started, 3),
        }.items():
            trial.set_user_attr(name, value)
        if checkpoint:
            checkpoint.remove()
        return accuracy

    def _describe(
        self, trial: optuna.Trial, entry: Entry, candidate: space.Candidate, device: str
    ) -> None:
        known = {name: value for name, value in asdict(entry).items() if value is not None}
        described = {
            "architecture": candidate.one_line(),
            "parameters": space.count_parameters(candidate),
            "macs": space.count_macs(candidate),
            "device": device,
            "commit": self.settings.commit,
            "versions": versions(),
        }
        for name, value in {**known, **described}.items():
            trial.set_user_attr(name, value)

    @cached_property
    def _images(self) -> tuple[Images, Images]:
        return self.load()


class ShortlistObjective(Retraining):
    """Trains and judges on the same images as the search."""

    judged_on = "validation"

    def load(self) -> tuple[Images, Images]:
        """The search's training and validation images."""
        return load_images(self.settings)
