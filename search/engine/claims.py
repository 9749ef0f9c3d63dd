"""Who may start which trial: the study's total is exact, and no cut trial is lost.

Every function here expects its caller to hold the study's lock.
"""

from __future__ import annotations

import enum
import itertools
import socket
from datetime import datetime
from typing import TYPE_CHECKING

from optuna.trial import FrozenTrial, Trial, TrialState

from search.engine.companions import HANDED_IN

if TYPE_CHECKING:
    import optuna

CUTS = 10  # so many times in a row a trial may be cut without finishing an epoch more
FAILURES_IN_A_ROW = 5  # so many failed trials, one after the other, end the run
KEPT = ("label", HANDED_IN)  # attributes that a queued trial takes over from the one that was cut
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


class Decision(enum.Enum):
    """What a worker that asks for a trial is told."""

    TRIAL = enum.auto()  # here is one
    WAIT = enum.auto()  # the running ones may be enough
    ENOUGH = enum.auto()  # the study holds what was asked for
    FAILING = enum.auto()  # too many failures in a row


def claim(
    study: optuna.Study, total: int, owner: str, since: datetime, *, queue_only: bool = False
) -> tuple[Decision, Trial | None]:
    """Start the next trial if the study needs one more.

    Args:
        study: With the sampler that shall draw.
        total: Finished trials that the study shall hold in the end.
        owner: Recorded in the trial, for ``release_dead``.
        since: The run's start; only later failures can end it.
        queue_only: Start queued trials alone; the sampler draws none.
    """
    trials = study.get_trials(deepcopy=False)
    if count_finished(trials) >= total:
        return Decision.ENOUGH, None
    if len(trailing_failures(trials, since)) >= FAILURES_IN_A_ROW:
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


def trailing_failures(trials: list[FrozenTrial], since: datetime) -> list[FrozenTrial]:
    """Trials that failed after a moment with none finishing after them, the last one first.

    Interrupted and killed trials do not count: their candidates are tried again.
    """
    ended = [t for t in trials if t.datetime_complete is not None and t.datetime_complete > since]
    ended.sort(key=lambda trial: trial.datetime_complete or since, reverse=True)
    failed = itertools.takewhile(lambda trial: trial.state == TrialState.FAIL, ended)
    return [trial for trial in failed if "retried" not in trial.user_attrs]


def close(study: optuna.Study, trial_id: int, *, reason: str, retry: bool = False) -> None:
    """Fail a running trial for a reason; with ``retry`` its candidate is put in the queue again.

    The queued trial keeps the first one's number in ``retry_of``: its seed comes from there. A
    trial that is cut again and again, by a system that runs out of memory for instance, is given
    up after ``CUTS`` times.
    """
    storage = study._storage
    trial = storage.get_trial(trial_id)
    reached = max(trial.intermediate_values, default=0)
    further = reached > trial.user_attrs.get("reached_before", 0)
    cuts = 1 if further else trial.user_attrs.get("cuts", 0) + 1
    if retry and cuts >= CUTS:
        retry = False
        reason = f"failed: cut {cuts} times in a row without finishing another epoch ({reason})"
    storage.set_trial_user_attr(trial_id, "reason", reason)
    if retry:
        storage.set_trial_user_attr(trial_id, "retried", True)
    study.tell(trial.number, state=TrialState.FAIL)
    if retry:
        kept = {key: trial.user_attrs[key] for key in KEPT if key in trial.user_attrs}
        first = trial.user_attrs.get("retry_of", trial.number)
        kept |= {"reached_before": reached, "cuts": cuts}
        params = {**trial.system_attrs.get("fixed_params", {}), **trial.params}
        study.enqueue_trial(params, user_attrs={**kept, "retry_of": first})


def release_dead(study: optuna.Study) -> list[int]:
    """Fail and queue again the running trials whose process on this machine is gone.

    Returns:
        Their numbers.
    """
    released = []
    for trial in study.get_trials(deepcopy=False, states=(TrialState.RUNNING,)):
        if not _alive(trial.user_attrs.get("worker")):
            close(study, trial._trial_id, reason="its worker died", retry=True)
            released.append(trial.number)
    return released


def _alive(owner: object) -> bool:
    """Whether an owner still runs; one of another machine counts as alive.

    A trial is marked with its owner under the lock that also starts it, so a trial without one
    was cut in between.
    """
    import psutil

    if not isinstance(owner, str) or owner.count(":") < 2:
        return False
    host, process, started = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return True
    try:
        found = psutil.Process(int(process))
        return abs(found.create_time() - float(started)) < 1.0 and (
            found.status() != psutil.STATUS_ZOMBIE
        )
    except (psutil.NoSuchProcess, ValueError):
        return False
