"""Candidates of the space: drawn, rebuilt, counted against the limits, described."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import optuna

import space
from search.common.text import counted
from search.study.companions import HANDED_IN
from search.study.recording import where_trained

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

    from objective import Limits, Settings
    from search.data.images import Images
    from search.data.problem import Problem
    from search.study.judge import Task
    from search.training.loop import TrainingRun


def suggest(trial: BaseTrial, limits: Limits, problem: Problem) -> space.Candidate:
    """The candidate of a trial: the one that was handed in as it, or one of the space.

    The space is told what its ``suggest`` asks for by name.
    """
    handed_in = trial.user_attrs.get(HANDED_IN)
    if handed_in is not None:
        return space.Candidate.from_json(handed_in)
    known = {
        "max_params": limits.max_params,
        "max_macs": limits.max_macs,
        "classes": problem.classes,
        "handwriting": problem.handwriting,
    }
    asked = inspect.signature(space.suggest).parameters
    return space.suggest(trial, **{name: known[name] for name in known if name in asked})  # type: ignore[arg-type]


def rebuild(task: Task, limits: Limits, problem: Problem) -> space.Candidate:
    """The candidate of a task, anywhere: of a trial with its parameters the space makes the same.

    Raises:
        ValueError: If a candidate's JSON cannot be read, or parameters lack or do not fit.
    """
    if task.candidate is not None:
        return space.Candidate.from_json(task.candidate)
    trial = optuna.trial.FixedTrial(task.params, number=task.number)
    return suggest(trial, limits, problem)


def check_limits(trial: optuna.Trial, candidate: space.Candidate, limits: Limits) -> None:
    """Record what a candidate costs and prune it when that is over a limit.

    The constraint tells the sampler how far over; pruning alone would not, and a search could
    lock into a region where everything is too large.

    Raises:
        optuna.TrialPruned: If it is over.
    """
    if "over_budget" in trial.user_attrs:  # it was interrupted, and has all this
        return
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
    }.items():
        trial.set_user_attr(name, value)
    if reasons:
        trial.set_user_attr("reason", "over budget: " + ", ".join(reasons))
    trial.set_user_attr("over_budget", bool(reasons))
    if reasons:
        raise optuna.TrialPruned


def _excess(count: int, limit: int) -> float:
    """How far over a limit a count is, as a share of it; far over it is all the same."""
    return min(count, limit * 10**9) / limit - 1


def begin_training(
    candidate: space.Candidate,
    seed: int,
    settings: Settings,
    training: Images,
    validation: Images | None,
) -> tuple[TrainingRun, dict[str, Any]]:
    """Build a candidate's network, to be trained from a seed.

    Args:
        candidate: What to build.
        seed: Of all that is drawn.
        settings: Epochs, device and arithmetic count here.
        training: To train on.
        validation: To judge each epoch by; None trains without looking.

    Returns:
        The training, and the attributes of a trial that are known where it is trained.
    """
    from search.training.loop import TrainingRun

    run = TrainingRun(
        lambda: space.build(candidate),
        candidate.recipe,
        training,
        validation,
        epochs=candidate.recipe.epochs_within(settings.epochs),
        seed=seed,
        arithmetic=settings.arithmetic,
    )
    return run, where_trained(
        settings.source,
        candidate.recipe,
        images=len(training),
        epochs=settings.epochs,
        device=settings.device,
        arithmetic=settings.arithmetic,
    )


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
