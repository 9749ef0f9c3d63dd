"""HOW a candidate is judged: suggest, count, prune over a limit, train, report, prune weak ones.

    study.optimize(Objective(settings), n_trials=5)

does all of it in one process, with Optuna alone. ``search/run.py`` calls the same methods in many:
one process proposes, reports and records, and its workers train in between (``search/workers``).
The value of a trial is the validation accuracy after its last epoch, in [0, 1]. The test images
cannot be reached from here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import optuna
from optuna.trial import TrialState

from search.architecture.limits import Limits
from search.common.errors import TrainingError
from search.common.process_id import process_id
from search.common.seeds import mix_seed
from search.study.attributes import (
    CANDIDATE,
    COMMIT,
    MACS,
    OVER_BUDGET,
    PARAMETERS,
    PARENT,
    REASON,
    SEED,
    SEED_OF,
    USER_CANDIDATE,
)
from search.study.judge import Task
from search.study.recording import record_candidate, record_curve, where_trained
from search.study.settings import Settings

if TYPE_CHECKING:
    from search.candidates.candidate import AnyCandidate
    from search.candidates.costs import Costs
    from search.data.images import Images
    from search.training.epoch import Epoch
    from search.training.loop import TrainingRun

__all__ = ["Limits", "Objective", "Settings", "begin_training"]


class Objective:
    """Judges one trial at a time; loads the images when the first candidate is within the limits.

    Args:
        settings: Data, limits, epochs, seed and device: what all trials have in common.

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
        for name, value in {PARENT.name: process_id(), **facts}.items():
            trial.set_user_attr(name, value)
        try:
            for _ in run.epochs():
                self.report(trial, run.curve)
        finally:
            self.record(trial, run.curve)
        return self.end(run)[0]

    def propose(self, trial: optuna.Trial) -> Task:
        """Suggest a candidate, count it, and prune it when it is over a limit.

        A candidate that a user handed in is taken as it is, and nothing is drawn; one that was
        interrupted has all that it had.

        Raises:
            search.common.errors.UserError: If the space raises, or what it returns is no network
                for these images; says where.
        """
        settings, space = self.settings, self.settings.space
        text = CANDIDATE.of(trial) or USER_CANDIDATE.of(trial)
        candidate = space.read(text) if text else space.suggest(trial)
        costs = space.costs(candidate) if OVER_BUDGET.of(trial) is None else None
        first = None
        if not text:
            text = space.write(candidate, trial.params)
            first = _first_of(text, costs, trial)
            text = (first and CANDIDATE.of(first)) or text  # of an older space that made the same
        if costs:
            record_candidate(trial, candidate, text, costs, settings.limits)
        if OVER_BUDGET.of(trial):
            raise optuna.TrialPruned
        seed = mix_seed(settings.seed, "trial", trial.number)
        if SEED.of(trial) is None:
            SEED.set(trial, seed)
            COMMIT.set(trial, settings.commit)
            if first is not None:
                SEED_OF.set(trial, first.number)
        counted = PARAMETERS.of(trial)
        return Task(number=trial.number, seed=seed, candidate=text, parameters=counted)

    def begin(self, task: Task, *, stacked: bool = False) -> tuple[TrainingRun, dict[str, Any]]:
        """Build the network where it is trained; also gives what only that place knows."""
        candidate = self.settings.space.read(task.candidate)
        return begin_training(candidate, task, self.settings, *self.images, stacked=stacked)

    def end(self, run: TrainingRun) -> tuple[float, dict[str, Any]]:
        """The value of a trial whose epochs are done, and more attributes of it."""
        return run.curve[-1].accuracy, {}

    def report(self, trial: optuna.Trial, curve: Sequence[Epoch]) -> None:
        """Report the last epoch, and prune the trial if the pruner says so.

        Another seed of a candidate that is complete is trained to the end: its value is wanted.
        """
        accuracy, number = curve[-1].accuracy, curve[-1].number
        trial.report(accuracy, number)
        if SEED_OF.of(trial) is None and trial.should_prune():
            pruner = type(trial.study.pruner).__name__.removesuffix("Pruner").lower()
            REASON.set(trial, f"{pruner} pruner at epoch {number}: {accuracy:.4f}")
            raise optuna.TrialPruned

    def record(self, trial: optuna.Trial, curve: Sequence[Epoch]) -> None:
        """Write the summary of a trial, also of one that ended early."""
        record_curve(trial, curve, uneven=self.settings.source.uneven)

    @cached_property
    def images(self) -> tuple[Images, Images]:
        """The training and the validation images, on the settings' device."""
        from search.data.images import load_images  # imports torch, which proposing does without

        settings = self.settings
        return load_images(settings.source, settings.device, train_images=settings.train_images)


def _first_of(
    candidate: str, costs: Costs | None, trial: optuna.Trial
) -> optuna.trial.FrozenTrial | None:
    """The first complete trial of a candidate, as another seed of which a trial counts.

    Equal parameters make another network under other limits, which is known by what it costs.
    """
    complete = trial.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    params = trial.params
    counted = costs and (costs.parameters, costs.macs)
    for one in complete:
        alike = CANDIDATE.of(one) == candidate or one.params == params
        if alike and (PARAMETERS.of(one), MACS.of(one)) == counted:
            return one
    return None


def begin_training(
    candidate: AnyCandidate,
    task: Task,
    settings: Settings,
    training: Images,
    validation: Images | None,
    *,
    stacked: bool = False,
) -> tuple[TrainingRun, dict[str, Any]]:
    """Build a candidate's network, to be trained from a seed.

    Args:
        candidate: What to build.
        task: Says from which seed, and what the network was counted to have.
        settings: Epochs, device and arithmetic count here.
        training: To train on.
        validation: To judge each epoch by; None trains without looking.
        stacked: To be trained as one network with other seeds of the candidate.

    Returns:
        The training, and the attributes of a trial that are known where it is trained.

    Raises:
        TrainingError: If the network has other parameters than were counted: a formula is wrong, or
            the space draws from something else than the trial.
    """
    from search.training.loop import TrainingRun  # imports torch

    recipe = candidate.recipe
    if stacked:
        settings = replace(settings, arithmetic=replace(settings.arithmetic, stacked=True))
    run = TrainingRun(
        candidate.build,
        recipe,
        training,
        validation,
        epochs=recipe.epochs_within(settings.epochs),
        seed=task.seed,
        arithmetic=settings.arithmetic,
    )
    has = sum(parameter.numel() for parameter in run.model.parameters())
    if task.parameters not in (None, has):
        raise TrainingError(
            f"{task.parameters:,} parameters were counted, but its network has {has:,}: what a "
            "space returns must follow from the trial alone"
        )
    settings = replace(settings, arithmetic=run.arithmetic)  # as this network needs it
    return run, where_trained(settings, recipe, images=len(training))
