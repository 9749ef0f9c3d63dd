"""Many commands on one server ask for trials at once: each queued one is handed out once."""

from __future__ import annotations

import time
from collections import Counter
from functools import partial
from multiprocessing import get_context
from typing import Any

import pytest

from search.console.terminal import Terminal
from search.data.dataset import DataSource
from search.study.storages.opening import create_study
from search.workers.coordinator import coordinate
from search.workers.local import LocalWorkers
from search.workers.messages import Training
from tests.cluster.stand_ins import StandIn, train
from tests.faults.processes import check_whole
from tests.helpers.no_data import job_without_data

pytestmark = pytest.mark.processes

QUEUED, DRAWN, PROCESSES = 60, 20, 4
SECONDS = 240


def begin(start: Any, worker: int, source: DataSource) -> Training:
    """In a worker: the workers of all commands begin at one moment."""
    start.wait(SECONDS)
    return train


def command(storage: str, start: Any) -> None:
    """In a process of its own: a whole command."""
    job = job_without_data(storage, StandIn(), partial(begin, start), trials=QUEUED + DRAWN)
    assert coordinate(job, 1, Terminal(quiet=True), start=LocalWorkers) == 0


def test_each_queued_trial_is_handed_out_once_and_the_total_is_exact(database: str) -> None:
    study = create_study(database, "s")
    for number in range(QUEUED):
        study.enqueue_trial({"x": number / 1000}, user_attrs={"label": f"queued {number}"})
    context = get_context("spawn")
    start = context.Barrier(PROCESSES)
    processes = [context.Process(target=command, args=(database, start)) for _ in range(PROCESSES)]
    for process in processes:
        process.start()
    deadline = time.monotonic() + SECONDS
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
        assert process.exitcode == 0
    trials = study.trials
    check_whole(trials, QUEUED + DRAWN)
    labels = Counter(trial.user_attrs.get("label", "drawn") for trial in trials)
    assert labels == {**{f"queued {number}": 1 for number in range(QUEUED)}, "drawn": DRAWN}
    assert [trial.params["x"] for trial in trials[:QUEUED]] == [n / 1000 for n in range(QUEUED)]
    shares = Counter(trial.user_attrs["parent"] for trial in trials)
    assert len(shares) == PROCESSES, shares
    assert len({trial.user_attrs["worker"] for trial in trials}) == PROCESSES
