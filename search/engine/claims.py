"""Who may start which trial: the study's total is exact, and no cut trial is lost.

Every function here expects its caller to hold the study's lock.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Collection
from typing import TYPE_CHECKING

from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import FrozenTrial, Trial, TrialState

from search.engine import attributes
from search.engine.companions import FINALIST, HANDED_IN
from search.engine.owners import is_here, process_number, runs_here

if TYPE_CHECKING:
    import optuna

CUTS = 8  # so often a trial's worker may die alone without finishing an epoch more
FAILURES_IN_A_ROW = 5  # so many failed trials, one after the other, end the run
# Attributes that a queued trial takes over from the one that was cut.
KEPT = ("label", HANDED_IN, FINALIST)
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class Decision(enum.Enum):
    """What a worker that asks for a trial is told."""

    TRIAL = enum.auto()  # here is one
    WAIT = enum.auto()  # the running ones may be enough
    ENOUGH = enum.auto()  # the study holds what was asked for
    FAILING = enum.auto()  # too many failures in a row


def claim(
    study: optuna.Study,
    total: int,
    owner: str,
    ended_before: Collection[int],
    *,
    queue_only: bool = False,
) -> tuple[Decision, Trial | None]:
    """Start the next trial if the study needs one more.

    Args:
        study: With the sampler that shall draw.
        total: Finished trials that the study shall hold in the end.
        owner: Recorded in the trial, for ``release_dead``.
        ended_before: Numbers of the trials that had ended when the run began: only later failures
            can end it.
        queue_only: Start queued trials alone; the sampler draws none.
    """
    trials = study.get_trials(deepcopy=False)
    if count_finished(trials) >= total:
        return Decision.ENOUGH, None
    if len(trailing_failures(trials, ended_before)) >= FAILURES_IN_A_ROW:
        return Decision.FAILING, None
    running = sum(trial.state == TrialState.RUNNING for trial in trials)
    if count_finished(trials) + running >= total:
        return Decision.WAIT, None
    if queue_only and not any(trial.state == TrialState.WAITING for trial in trials):
        return Decision.WAIT if running else Decision.ENOUGH, None  # a cut one is queued again
    trial = study.ask()
    trial.set_user_attr("worker", owner)
    return Decision.TRIAL, trial


def count_finished(trials: list[FrozenTrial]) -> int:
    """Trials that count towards a total: complete and pruned ones."""
    return sum(trial.state in FINISHED for trial in trials)


def trailing_failures(
    trials: list[FrozenTrial], ended_before: Collection[int]
) -> list[FrozenTrial]:
    """Trials that failed in a run with none of a higher number finishing, the last one first.

    Interrupted and killed trials do not count: their candidates are tried again. They go by their
    numbers: clocks can be set.
    """
    ended = (t for t in trials if t.state.is_finished() and t.number not in ended_before)
    latest = sorted(ended, key=lambda trial: trial.number, reverse=True)
    failed = itertools.takewhile(lambda trial: trial.state == TrialState.FAIL, latest)
    return [trial for trial in failed if not attributes.RETRIED.of(trial)]


def first_number(trial: FrozenTrial | Trial) -> int:
    """The number of a trial's first attempt; its seed and its checkpoint go by that one."""
    first = attributes.RETRY_OF.of(trial)
    return trial.number if first is None or first > trial.number else first


def epochs_done(trials: list[FrozenTrial]) -> int:
    """A count that grows with every epoch that is new and every trial that finishes."""
    reached: dict[int, int] = {}
    for trial in trials:
        first = first_number(trial)
        reached[first] = max(reached.get(first, 0), *trial.intermediate_values, 0)
    return sum(reached.values()) + count_finished(trials)


def close(
    study: optuna.Study, trial_id: int, *, reason: str, retry: bool = False, alone: bool = False
) -> None:
    """Fail a running trial for a reason; with ``retry`` its candidate is put in the queue again.

    The queued trial keeps the first one's number in ``retry_of``: its seed comes from there. A
    trial whose worker died ``alone``, while its parent lived, may be to blame itself, by taking
    all memory for instance: it is given up after ``CUTS`` times. Other cuts, by Ctrl-C or a
    machine that is taken away, are nobody's fault and may be as many as they like.

    The candidate is queued before the trial is failed, and only once: a process that is killed in
    between loses nothing. A trial that has ended meanwhile is left.
    """
    storage = study._storage
    trial = storage.get_trial(trial_id)
    before = attributes.REACHED_BEFORE.of(trial) or 0
    reached = max(trial.intermediate_values, default=0)
    cuts = int(alone) + (0 if reached > before else attributes.CUTS.of(trial) or 0)
    if alone and cuts >= CUTS:
        retry = False
        reason = f"failed: its worker died {cuts} times without finishing another epoch"
    try:
        storage.set_trial_user_attr(trial_id, "reason", reason)
        if retry:
            storage.set_trial_user_attr(trial_id, "retried", True)
            _queue_again(study, trial, {"reached_before": max(reached, before), "cuts": cuts})
        study.tell(trial.number, state=TrialState.FAIL, skip_if_finished=True)
    except UpdateFinishedTrialError:
        return


def _queue_again(study: optuna.Study, trial: FrozenTrial, counts: dict[str, int]) -> None:
    trials = study.get_trials(deepcopy=False)
    if any(attributes.RETRIES.of(other) == trial.number for other in trials[trial.number :]):
        return
    kept = {key: trial.user_attrs[key] for key in KEPT if key in trial.user_attrs}
    queued = attributes.mapping(trial.system_attrs.get("fixed_params"))
    params = {**queued, **trial.params}
    study.enqueue_trial(
        params,
        user_attrs={**kept, **counts, "retry_of": first_number(trial), "retries": trial.number},
    )


def release_dead(
    study: optuna.Study,
    silent: Collection[int] = (),
    alone: Collection[int | str | None] = (),
    gone: Collection[str] = (),
) -> list[int]:
    """Fail and queue again the running trials whose process is gone.

    Args:
        study: Whose.
        silent: Numbers of trials of other machines to be taken for dead.
        alone: Workers that died while their parent, who asks, and their machine live: process
            numbers here, owners elsewhere.
        gone: Owners that are known to be dead though they cannot be seen from here.

    Returns:
        The trials' numbers.
    """
    released = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        owner = attributes.WORKER.of(trial)
        here = is_here(owner)
        died_alone = owner in alone or (here and process_number(owner) in alone)
        if died_alone or owner in gone or (here and not runs_here(owner)):
            close(study, trial._trial_id, reason="its worker died", retry=True, alone=died_alone)
        elif not here and trial.number in silent:
            close(study, trial._trial_id, reason="its worker's machine fell silent", retry=True)
        else:
            continue
        released.append(trial.number)
    return released


def release_owned(study: optuna.Study, owner: str) -> None:
    """Fail and queue again what an owner started without keeping the study's lock to the end."""
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if attributes.WORKER.of(trial) == owner:
            close(study, trial._trial_id, reason="the database server went away", retry=True)
