"""How a finalist is judged: trained on all training images, tested once after its last epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import optuna

import space
from objective import Settings, device_name, note, versions
from search.engine.claims import first_number

if TYPE_CHECKING:
    from search.engine.images import Images
    from search.engine.training import Epoch

FINALIST = "finalist"  # trial attribute: what is to be trained


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One training of one finalist; what the trial is queued with."""

    kind: str  # finalist or reference
    label: str
    candidate: str  # JSON
    seed: int
    rank: int | None = None  # on the search's leaderboard
    search_trial: int | None = None

    def to_attribute(self) -> dict[str, Any]:
        """Plain values for a trial's user attribute."""
        return asdict(self)


class FinalObjective:
    """Judges one training at a time; made once in each worker.

    The value is the test accuracy. Nothing is looked at before: neither the schedule nor the
    epoch that is kept depends on held-out images.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __call__(
        self, trial: optuna.Trial, should_stop: Callable[[], bool] = lambda: False
    ) -> float:
        """Train and test.

        Raises:
            search.engine.errors.TrainingError: If the loss is not finite.
            search.engine.errors.InterruptedTraining: If ``should_stop`` said so.
        """
        import torch
        from optuna_dashboard import save_note

        from search.engine.checkpoint import Checkpoint, checkpoint_path
        from search.engine.network import make_network
        from search.engine.training import evaluate, fit

        entry = Entry(**trial.user_attrs[FINALIST])
        candidate = space.Candidate.from_json(entry.candidate)
        settings, started = self.settings, time.perf_counter()
        training, test = self._images
        epochs = min(settings.epochs, candidate.recipe.epochs or settings.epochs)
        device = device_name(settings)
        self._describe(trial, entry, candidate, device)
        save_note(trial, note(candidate))

        def on_epoch(epoch: Epoch) -> None:
            trial.set_user_attr("epochs", epoch.number)

        checkpoint = None
        if settings.checkpoints is not None:
            number = first_number(trial)
            identity = f"{entry}/{epochs}/{device}/{settings.source.fingerprint}/{versions()}"
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
        accuracy, loss = evaluate(network, test)
        for name, value in {
            "test_accuracy": accuracy,
            "test_correct": round(accuracy * len(test)),
            "test_loss": loss,
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
        import numpy as np
        import torch

        from search.engine.dataset import load_training
        from search.engine.images import on_device
        from search.engine.testset import load_test

        source, device = self.settings.source, torch.device(self.settings.device)
        parts = load_training(source)
        pixels = np.concatenate([part.images for part in parts])
        labels = np.concatenate([part.labels for part in parts])
        test = load_test(source)
        return (
            on_device(pixels, labels, source.mean, source.std, device),
            on_device(test.images, test.labels, source.mean, source.std, device),
        )
