"""HOW a candidate is judged: suggest, check the budget, train, report, prune.

The value of a trial is the validation accuracy after its last epoch, in [0, 1]. The test images
cannot be reached from here.
"""

from __future__ import annotations

import inspect
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import optuna
from optuna.exceptions import UpdateFinishedTrialError

import space
from search.engine.arithmetic import Arithmetic
from search.engine.claims import first_number
from search.engine.companions import HANDED_IN
from search.engine.dataset import DataSource, load_training
from search.engine.errors import InterruptedTraining
from search.engine.frugal import together
from search.engine.problem import Problem, problem_of
from search.engine.recipe import ADJUSTED
from search.engine.seeds import mix_seed
from search.engine.text import counted
from search.engine.weights import save_weights, weights_file

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

    from search.engine.checkpoint import Checkpoint
    from search.engine.images import Images
    from search.engine.training import Epoch, Fit


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a candidate may cost; known before anything is built."""

    max_params: int = 20_000  # exactly so many are allowed
    max_macs: int | None = None  # multiply-accumulates of one image; None = no limit


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What a search holds fixed for all of its trials."""

    source: DataSource
    limits: Limits = Limits()
    epochs: int = 20
    seed: int = 0
    target: float | None = None  # accuracy that was asked for, in [0, 1]; None = the images' own
    train_images: int | None = None  # only the first so many; None = all
    device: str = "cpu"
    arithmetic: Arithmetic = Arithmetic()
    commit: str = "unknown"  # of this program
    checkpoints: Path | None = None  # where cut trials leave their state; None = nowhere
    weights: Path | None = None  # where complete trials leave their network; None = nowhere

    @property
    def problem(self) -> Problem:
        """What the images are, and the accuracy that is wanted."""
        return problem_of(self.source, target=self.target)


class Objective:
    """Judges one trial at a time; made once in each worker.

    Args:
        settings: The data are loaded when the first candidate is within the limits.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __call__(
        self, trial: optuna.Trial, should_stop: Callable[[], bool] = lambda: False
    ) -> float:
        """Judge a trial.

        Raises:
            optuna.TrialPruned: If the candidate is over a limit, or the pruner gives it up.
            search.engine.errors.TrainingError: If its loss is not finite.
            search.engine.errors.InterruptedTraining: If ``should_stop`` said so.
            optuna.exceptions.UpdateFinishedTrialError: If someone else has ended the trial.
        """
        with together(trial):
            candidate = draw(trial, self.settings.limits, self.settings.problem)
            check_limits(trial, candidate, self.settings.limits)
        fit = self._train(trial, candidate, should_stop)
        return fit.epochs[-1].accuracy

    def _train(
        self, trial: optuna.Trial, candidate: space.Candidate, should_stop: Callable[[], bool]
    ) -> Fit:
        from search.engine import training
        from search.engine.notes import save_note
        from search.engine.storage import is_storage_error

        settings = self.settings
        train, validation = self._images
        number = first_number(trial)
        seed = mix_seed(settings.seed, "trial", number)
        with together(trial):
            for name, value in {
                "seed": seed,
                "trained_on": {
                    "fingerprint": settings.source.fingerprint,
                    "train_images": len(train),
                    "epochs": settings.epochs,
                },
                "device": self._device_name,
                "commit": settings.commit,
                "versions": versions(),
            }.items():
                trial.set_user_attr(name, value)
            note_adjusted(trial, candidate, epochs=settings.epochs, images=len(train))
            save_note(trial, note(candidate))
        watch = _Watch(trial)
        epochs = candidate.recipe.epochs_within(settings.epochs)
        checkpoint = self._checkpoint(trial, number, candidate, seed, epochs)
        try:
            fit = training.fit(
                lambda: space.build(candidate),
                candidate.recipe,
                train,
                validation,
                epochs=epochs,
                seed=seed,
                arithmetic=settings.arithmetic,
                checkpoint=checkpoint,
                on_resume=watch.resume,
                on_epoch=watch,
                should_stop=should_stop,
            )
        except (InterruptedTraining, UpdateFinishedTrialError):  # another attempt goes on from it
            raise
        except BaseException as error:
            if not is_storage_error(error):
                _remove(checkpoint)
            raise
        finally:
            watch.record()
        if settings.weights is not None:
            text, name = candidate.to_json(), trial.study.study_name
            file = weights_file(settings.weights, name, number, text, seed)
            save_weights(file, fit.model.state_dict())
        _remove(checkpoint)
        return fit

    def _checkpoint(
        self,
        trial: optuna.Trial,
        number: int,
        candidate: space.Candidate,
        seed: int,
        epochs: int,
    ) -> Checkpoint | None:
        from search.engine.checkpoint import Checkpoint, checkpoint_path

        settings = self.settings
        if settings.checkpoints is None:
            return None
        identity = "/".join(
            [candidate.to_json(), str(seed), str(epochs), self._device_name]
            + [settings.source.fingerprint, str(settings.train_images), str(versions())]
        )
        path = checkpoint_path(settings.checkpoints, trial.study.study_name, number)
        return Checkpoint(path=path, identity=identity)

    @cached_property
    def _images(self) -> tuple[Images, Images]:
        return load_images(self.settings)

    @cached_property
    def _device_name(self) -> str:
        return device_name(self.settings)


def device_name(settings: Settings) -> str:
    """The device, its kind and the arithmetic: what figures depend on to the last bit."""
    import torch

    from search.engine.network import uses_fused

    device = torch.device(settings.device)
    arithmetic = replace(settings.arithmetic, fused=uses_fused(settings.arithmetic, device))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return f"{device} ({name}, {arithmetic})"


def load_images(settings: Settings) -> tuple[Images, Images]:
    """The training and the validation images, on the settings' device."""
    import torch

    from search.engine.images import on_device

    device = torch.device(settings.device)
    train, validation = load_training(settings.source)
    keep = slice(settings.train_images)
    mean, deviation = settings.source.mean, settings.source.std
    return (
        on_device(train.images[keep], train.labels[keep], mean, deviation, device),
        on_device(validation.images, validation.labels, mean, deviation, device),
    )


def draw(trial: optuna.Trial, limits: Limits, problem: Problem) -> space.Candidate:
    """The candidate that was handed in as this trial, or else one that the trial suggests."""
    handed_in = trial.user_attrs.get(HANDED_IN)
    if handed_in is not None:
        return space.Candidate.from_json(handed_in)
    return suggest(trial, limits, problem)


def suggest(trial: BaseTrial, limits: Limits, problem: Problem) -> space.Candidate:
    """A candidate of the space, which is told what its ``suggest`` asks for by name."""
    known = {
        "max_params": limits.max_params,
        "max_macs": limits.max_macs,
        "classes": problem.classes,
        "handwriting": problem.handwriting,
    }
    asked = inspect.signature(space.suggest).parameters
    return space.suggest(trial, **{name: known[name] for name in known if name in asked})  # type: ignore[arg-type]


def check_limits(trial: optuna.Trial, candidate: space.Candidate, limits: Limits) -> None:
    """Record what a candidate costs and prune it when that is over a limit.

    The constraint tells the sampler how far over; pruning alone would not, and a search could
    lock into a region where everything is too large.

    Raises:
        optuna.TrialPruned: If it is over.
    """
    parameters = space.count_parameters(candidate)
    macs = space.count_macs(candidate)
    excess = _excess(parameters, limits.max_params)
    reasons = []
    if excess > 0:
        reasons.append(f"{counted(parameters, 'parameter')} > {limits.max_params:,}")
    if limits.max_macs is not None:
        excess_macs = _excess(macs, limits.max_macs)
        trial.set_constraint("multiply-accumulates over the limit", excess_macs)
        if excess_macs > 0:
            reasons.append(f"{macs:,} multiply-accumulates > {limits.max_macs:,}")
    trial.set_constraint("parameters over the limit", excess)
    for name, value in {
        "architecture": candidate.one_line(),
        "parameters": parameters,
        "macs": macs,
        "peak_activation_bytes": space.peak_activation_bytes(candidate),
        "candidate": candidate.to_json(),
        "over_budget": bool(reasons),
    }.items():
        trial.set_user_attr(name, value)
    if reasons:
        trial.set_user_attr("reason", "over budget: " + ", ".join(reasons))
        raise optuna.TrialPruned


def _excess(count: int, limit: int) -> float:
    """How far over a limit a count is, as a share of it; far over it is all the same."""
    return min(count, limit * 10**9) / limit - 1


def note_adjusted(
    trial: optuna.Trial, candidate: space.Candidate, *, epochs: int, images: int
) -> None:
    """Record what is trained otherwise than the candidate's recipe asks, if anything is."""
    sentences = candidate.recipe.adjusted(epochs=epochs, images=images)
    if sentences:
        trial.set_user_attr(ADJUSTED, sentences)


def note(candidate: space.Candidate) -> str:
    """A candidate's note in the dashboard: what it is, layer by layer."""
    return f"`{candidate.one_line()}`\n\n{layer_lines(candidate)}"


def layer_lines(candidate: space.Candidate) -> str:
    """A candidate's layer table in Markdown."""
    lines = ["| layer | output shape | parameters | multiply-accumulates |", "|:--|--:|--:|--:|"]
    rows = space.layer_table(candidate)
    for row in rows:
        shape = "×".join(map(str, row.output_shape))
        lines.append(f"| {row.name} | {shape} | {row.parameters:,} | {row.macs:,} |")
    parameters, macs = sum(row.parameters for row in rows), sum(row.macs for row in rows)
    lines.append(f"| **total** | | **{parameters:,}** | **{macs:,}** |")
    return "\n".join(lines)


def _remove(checkpoint: Checkpoint | None) -> None:
    if checkpoint:
        checkpoint.remove()


class _Watch:
    """Reports each epoch to the study, prunes, and sums up what was seen."""

    def __init__(self, trial: optuna.Trial) -> None:
        self._trial = trial
        self._started = time.perf_counter()
        self._epochs: list[Epoch] = []

    def resume(self, epochs: list[Epoch]) -> None:
        """Take over the epochs that an earlier attempt at this trial finished."""
        for epoch in epochs:
            self._epochs.append(epoch)
            self._trial.report(epoch.accuracy, epoch.number)
        self._trial.set_user_attr("resumed_after_epoch", epochs[-1].number)

    def __call__(self, epoch: Epoch) -> None:
        self._epochs.append(epoch)
        self._trial.report(epoch.accuracy, epoch.number)
        if self._trial.should_prune():
            name = type(self._trial.study.pruner).__name__.removesuffix("Pruner").lower()
            reason = f"{name} pruner at epoch {epoch.number}: {epoch.accuracy:.4f}"
            self._trial.set_user_attr("reason", reason)
            raise optuna.TrialPruned

    def record(self) -> None:
        """Write the summary, also of a trial that ended early."""
        write = self._trial.set_user_attr
        with together(self._trial):
            write("seconds", round(time.perf_counter() - self._started, 3))
            write("epochs", len(self._epochs))
            if self._epochs:
                best = max(self._epochs, key=lambda epoch: epoch.accuracy)
                write("best_epoch", best.number)
                write("best_accuracy", best.accuracy)
                write("validation_loss", self._epochs[-1].loss)


def versions() -> dict[str, str]:
    """The versions on which a trial's figures may depend."""
    import numpy
    import torch

    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": numpy.__version__,
        "optuna": optuna.__version__,
    }
