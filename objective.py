"""HOW a candidate is judged: suggest, count, prune over a limit, train, report, prune weak ones.

    study.optimize(Objective(settings), n_trials=5)

does all of it in one process, with Optuna alone. ``search/run.py`` calls the same methods in many:
one process proposes, reports and records, and its workers train in between (``search/workers``).
The value of a trial is the validation accuracy after its last epoch, in [0, 1]. The test images
cannot be reached from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import optuna

from search.candidates import begin_training, check_limits, rebuild, suggest
from search.common.process_id import owner_name
from search.common.seeds import mix_seed
from search.data.dataset import DataSource
from search.data.problem import Problem, problem_of
from search.study.companions import HANDED_IN
from search.study.judge import Task
from search.study.recording import record_curve
from search.training.arithmetic import Arithmetic

if TYPE_CHECKING:
    from search.data.images import Images
    from search.training.epoch import Epoch
    from search.training.loop import TrainingRun


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

    @property
    def problem(self) -> Problem:
        """What the images are, and the accuracy that is wanted."""
        return problem_of(self.source, target=self.target)


class Objective:
    """Judges one trial at a time; loads the images when the first candidate is within the limits.

    Raises:
        optuna.TrialPruned: If the candidate is over a limit, or the pruner gives it up.
        search.common.errors.TrainingError: If its loss is not finite.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def __call__(self, trial: optuna.Trial) -> float:
        """Judge a trial from start to end."""
        task = self.propose(trial)
        run, facts = self.begin(task)
        for name, value in {"parent": owner_name(), **facts}.items():
            trial.set_user_attr(name, value)
        try:
            for _ in run.epochs():
                self.report(trial, run.curve)
        finally:
            self.record(trial, run.curve)
        return self.end(run)[0]

    def propose(self, trial: optuna.Trial) -> Task:
        """Suggest a candidate, count it, and prune it when it is over a limit."""
        candidate = suggest(trial, self.settings.limits, self.settings.problem)
        check_limits(trial, candidate, self.settings.limits)
        seed = mix_seed(self.settings.seed, "trial", trial.number)
        if "seed" not in trial.user_attrs:
            trial.set_user_attr("seed", seed)
            trial.set_user_attr("commit", self.settings.commit)
        handed_in = trial.user_attrs.get(HANDED_IN)
        return Task(number=trial.number, seed=seed, params=trial.params, candidate=handed_in)

    def begin(self, task: Task) -> tuple[TrainingRun, dict[str, Any]]:
        """Build the network where it is trained; also gives what only that place knows."""
        candidate = rebuild(task, self.settings.limits, self.settings.problem)
        return begin_training(candidate, task.seed, self.settings, *self.images)

    def end(self, run: TrainingRun) -> tuple[float, dict[str, Any]]:
        """The value of a trial whose epochs are done, and more attributes of it."""
        return run.curve[-1].accuracy, {}

    def report(self, trial: optuna.Trial, curve: Sequence[Epoch]) -> None:
        """Report the last epoch, and prune the trial if the pruner says so."""
        accuracy, number = curve[-1].accuracy, curve[-1].number
        trial.report(accuracy, number)
        if trial.should_prune():
            pruner = type(trial.study.pruner).__name__.removesuffix("Pruner").lower()
            trial.set_user_attr("reason", f"{pruner} pruner at epoch {number}: {accuracy:.4f}")
            raise optuna.TrialPruned

    def record(self, trial: optuna.Trial, curve: Sequence[Epoch]) -> None:
        """Write the summary of a trial, also of one that ended early."""
        record_curve(trial, curve)

    @cached_property
    def images(self) -> tuple[Images, Images]:
        """The training and the validation images, on the settings' device."""
        from search.data.images import load_images

        settings = self.settings
        return load_images(settings.source, settings.device, train_images=settings.train_images)
