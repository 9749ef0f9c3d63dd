"""A worker: takes trials from the study and judges one after the other, wherever it runs."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from search.engine import locks
from search.engine import storage as storages
from search.engine.claims import Decision, claim, close, release_owned
from search.engine.heartbeat import Heartbeat
from search.engine.owners import owner_name
from search.engine.sampling import make_pruner, make_sampler
from search.engine.vanishing import is_deleted

if TYPE_CHECKING:
    import optuna

    from search.engine.dataset import DataSource

STORAGE_FAILED = 3  # result of a worker that could not read or write the study
POLL = 0.5  # seconds between looks at a study that has nothing to hand out, at first
LONGEST_POLL = 3.0  # later: many workers that wait must not keep the study busy


class Objective(Protocol):
    """Judges a trial; ``should_stop`` is asked often, and True ends the trial early."""

    def __call__(self, trial: optuna.Trial, should_stop: Callable[[], bool]) -> float:
        """The trial's value."""
        ...


@dataclass(frozen=True, kw_only=True)
class Job:
    """What a worker needs to know; small, and sent to its process as a whole."""

    storage: str
    study: str
    trials: int  # finished trials that the study shall hold
    sampler: str
    pruner: str
    seed: int
    epochs: int
    validation_images: int  # that a reported accuracy is counted on
    source: DataSource
    make_objective: Callable[[int, DataSource], Objective]  # from a worker's index
    ended_before: frozenset[int] = frozenset()  # trials: their failures do not end the run
    queue_only: bool = False  # start what is queued; the sampler draws nothing


def load_study(job: Job) -> optuna.Study:
    """The job's study with its sampler and pruner; the parent has created it."""
    import optuna

    from search.engine.frugal import frugal

    return optuna.load_study(
        study_name=job.study,
        storage=frugal(storages.connect(job.storage, patient=True)),
        sampler=make_sampler(job.sampler, job.seed),
        pruner=make_pruner(job.pruner, job.epochs, job.validation_images),
    )


def work(job: Job, index: int, should_stop: Callable[[], bool]) -> int:
    """Run trials until the study holds enough or a stop is asked for.

    Returns:
        0, or ``STORAGE_FAILED`` if the study could not be read or written, or is deleted.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    locks.be_patient(job.storage, give_up=should_stop)
    try:
        study = load_study(job)
        objective = job.make_objective(index, job.source)
        try:
            _run_trials(study, job, objective, should_stop)
        except KeyError:
            if not is_deleted(study):
                raise
            return STORAGE_FAILED  # the parent says so
    except Exception as error:
        if storages.is_storage_error(error):
            return STORAGE_FAILED
        raise
    return 0


def _run_trials(
    study: optuna.Study, job: Job, objective: Objective, should_stop: Callable[[], bool]
) -> None:
    owner = owner_name()
    pause = POLL
    while not should_stop():
        decision, trial = _claim(study, job, owner)
        if decision is Decision.ENOUGH or decision is Decision.FAILING:
            return
        if trial is None:
            pause = min(1.2 * pause, LONGEST_POLL)
            time.sleep(pause)
            continue
        pause = POLL
        run_trial(study, trial, objective, should_stop, job.storage)


def _claim(study: optuna.Study, job: Job, owner: str) -> tuple[Decision, optuna.trial.Trial | None]:
    """Start the next trial; what was started while a server's lock was lost is given back."""
    from search.engine.frugal import reading_once

    again = False

    def next_trial() -> tuple[Decision, optuna.trial.Trial | None]:
        nonlocal again
        if again:
            release_owned(study, owner)
        again = True
        with reading_once(study):
            return claim(study, job.trials, owner, job.ended_before, queue_only=job.queue_only)

    return locks.under_lock(job.storage, next_trial)


def run_trial(
    study: optuna.Study,
    trial: optuna.Trial,
    objective: Objective,
    should_stop: Callable[[], bool],
    storage: str,
) -> None:
    """Judge one trial and record how it ended; no error of a candidate leaves this function.

    A trial that someone else ends meanwhile, in the dashboard or because this process seemed dead,
    stays as that one left it.
    """
    import optuna

    from search.engine.errors import InterruptedTraining

    try:
        with Heartbeat(study, trial._trial_id):
            value = objective(trial, should_stop)
        study.tell(trial, value, skip_if_finished=True)
    except optuna.TrialPruned:
        with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
            study.tell(trial, state=optuna.trial.TrialState.PRUNED, skip_if_finished=True)
    except optuna.exceptions.UpdateFinishedTrialError:
        return
    except InterruptedTraining:
        locks.under_lock(
            storage, lambda: close(study, trial._trial_id, reason="interrupted", retry=True)
        )
    except Exception as error:
        if storages.is_storage_error(error) or is_deleted(study):
            raise
        _fail(study, trial, error, storage)


def _fail(study: optuna.Study, trial: optuna.Trial, error: Exception, storage: str) -> None:
    """Fail a trial over an error of its candidate, and keep the traceback."""
    import traceback

    import optuna

    text = traceback.format_exc()[-8000:]
    with contextlib.suppress(optuna.exceptions.UpdateFinishedTrialError):
        trial.set_user_attr("traceback", text)
        _append_note(trial, text)
        reason = f"failed: {error or type(error).__name__}"
        locks.under_lock(storage, lambda: close(study, trial._trial_id, reason=reason))


def _append_note(trial: optuna.Trial, text: str) -> None:
    """Show a text in the trial's note in the dashboard, as it is."""
    from search.engine.notes import get_note, save_note

    fenced = "```\n" + text.replace("```", "") + "\n```"
    save_note(trial, f"{get_note(trial)}\n\n{fenced}".strip())
