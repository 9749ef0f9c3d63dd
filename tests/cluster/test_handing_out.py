"""Many processes on one server ask for trials at once: each queued one is handed out once."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from multiprocessing import get_context
from typing import Any

import optuna
from optuna.trial import TrialState

from search.engine import workers
from search.engine.storage import create_study
from tests.no_data import job_without_data

QUEUED, DRAWN, PROCESSES = 60, 20, 4


def judge(trial: optuna.Trial, should_stop: Callable[[], bool]) -> float:
    return trial.suggest_float("x", 0, 1)


def work(storage: str, index: int, start: Any) -> None:
    """In a process of its own: all begin at one moment."""
    job = job_without_data(storage, lambda index, source: judge, trials=QUEUED + DRAWN)
    workers.load_study(job)  # imports and connects
    start.wait()
    assert workers.work(job, index, lambda: False) == 0


def test_each_queued_trial_is_handed_out_once_and_the_total_is_exact(database: str) -> None:
    study = create_study(database, "s")
    for number in range(QUEUED):
        study.enqueue_trial({"x": number / 1000}, user_attrs={"label": f"queued {number}"})
    context = get_context("spawn")
    start = context.Barrier(PROCESSES)
    processes = [
        context.Process(target=work, args=(database, index, start)) for index in range(PROCESSES)
    ]
    for process in processes:
        process.start()
    deadline = time.monotonic() + 120
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        assert process.exitcode == 0
    trials = study.trials
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * (QUEUED + DRAWN)
    labels = Counter(trial.user_attrs.get("label", "drawn") for trial in trials)
    assert labels == {**{f"queued {number}": 1 for number in range(QUEUED)}, "drawn": DRAWN}
    assert [trial.params["x"] for trial in trials[:QUEUED]] == [n / 1000 for n in range(QUEUED)]
    shares = Counter(trial.user_attrs["worker"] for trial in trials)
    assert len(shares) == PROCESSES, shares
