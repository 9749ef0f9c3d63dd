"""Trains what is queued, with seeds of its own, and judges it once after its last epoch."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar

import optuna

from objective import begin_training
from search.study import attributes
from search.study.judge import Task
from search.study.settings import Settings

if TYPE_CHECKING:
    from search.data.images import Images
    from search.training.epoch import Epoch
    from search.training.loop import TrainingRun


@dataclass(frozen=True, kw_only=True)
class QueuedTraining:
    """One training of one candidate; what the trial is queued with."""

    kind: str  # shortlist, finalist or reference
    label: str
    candidate: str  # JSON
    seed: int
    rank: int | None = None  # on the search's leaderboard
    search_trial: int | None = None

    def to_attributes(self) -> dict[str, Any]:
        """What its trial is queued with."""
        return {
            attributes.FINALIST.name: asdict(self),
            attributes.CANDIDATE.name: self.candidate,
            attributes.LABEL.name: self.label,
        }


class Retraining(ABC):
    """Judges one training at a time.

    The value is the accuracy after the last epoch. Nothing is looked at before: neither the
    schedule nor the epoch that is kept depends on held-out images.
    """

    judged_on: ClassVar[str]  # test or validation: what the recorded figures are named after

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    @abstractmethod
    def load(self) -> tuple[Images, Images]:
        """The images to train on and those to judge by, on the settings' device."""

    def propose(self, trial: optuna.Trial) -> Task:
        """What the trial was queued for."""
        entry = QueuedTraining(**attributes.FINALIST.of(trial))
        space = self.settings.space
        candidate = space.read(entry.candidate)
        costs = space.costs(candidate)
        known = {name: value for name, value in asdict(entry).items() if value is not None}
        described = {
            attributes.ARCHITECTURE.name: candidate.name,
            attributes.PARAMETERS.name: costs.parameters,
            attributes.MACS.name: costs.macs,
            attributes.COMMIT.name: self.settings.commit,
        }
        for name, value in {**known, **described}.items():
            if trial.user_attrs.get(name) != value:
                trial.set_user_attr(name, value)
        return Task(
            number=trial.number,
            seed=entry.seed,
            candidate=entry.candidate,
            parameters=costs.parameters,
        )

    def begin(self, task: Task, *, stacked: bool = False) -> tuple[TrainingRun, dict[str, Any]]:
        """Build the network where it is trained; also gives what only that place knows."""
        candidate, settings = self.settings.space.read(task.candidate), self.settings
        return begin_training(candidate, task, settings, self.images[0], None, stacked=stacked)

    def end(self, run: TrainingRun) -> tuple[float, dict[str, Any]]:
        """Judge the network that is trained."""
        import torch

        from search.training.evaluation import evaluate
        from search.training.network import make_network

        settings, (_, held_out) = self.settings, self.images
        network = make_network(run.model, run.arithmetic, torch.device(settings.device))
        found = evaluate(network, held_out)
        facts = {
            f"{self.judged_on}_accuracy": found.accuracy,
            f"{self.judged_on}_correct": round(found.accuracy * len(held_out)),
            f"{self.judged_on}_loss": found.loss,
            attributes.TRAINING_LOSS.name: run.curve[-1].training_loss,
        }
        if settings.source.uneven:
            facts[f"{self.judged_on}_balanced_accuracy"] = found.balanced_accuracy
        return found.accuracy, facts

    def report(self, trial: optuna.Trial, curve: Sequence[Epoch]) -> None:
        """Record how far it is."""
        attributes.EPOCHS.set(trial, len(curve))

    def record(self, trial: optuna.Trial, curve: Sequence[Epoch]) -> None:
        """Record how long it took."""
        attributes.SECONDS.set(trial, round(sum(epoch.seconds for epoch in curve), 3))

    @cached_property
    def images(self) -> tuple[Images, Images]:
        """See ``load``."""
        return self.load()


class ShortlistObjective(Retraining):
    """Trains and judges on the same images as the search."""

    judged_on = "validation"

    def load(self) -> tuple[Images, Images]:
        """The search's training and validation images."""
        from search.data.images import load_images

        settings = self.settings
        return load_images(settings.source, settings.device, train_images=settings.train_images)
