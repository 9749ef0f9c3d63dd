"""How many workers a run starts: at most one for each trial that is left and that nobody runs."""

from __future__ import annotations

import io
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from optuna.trial import TrialState

from search.engine.attributes import WORKER
from search.study.owners import owner_name
from search.engine.pool import Workers
from search.engine.storage import create_study
from search.engine.workers import Job, Objective
from search.supervision import STOP_SIGNALS, supervise
from search.terminal import Terminal
from tests.no_data import job_without_data


class _Started(Exception):
    """With how many workers."""


def _make(index: int, source: object) -> Objective:
    raise AssertionError("no worker starts here")


def _start(job: Job, count: int) -> Workers:
    raise _Started(count)


@pytest.fixture(autouse=True)
def _signals() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in STOP_SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("asked", "total", "finished", "running", "expected"),
    [
        (1_000, 1, 0, 0, 1),
        (5, 3, 0, 0, 3),
        (2, 9, 0, 0, 2),
        (5, 9, 7, 0, 2),  # on resume
        (5, 9, 2, 4, 3),  # another command runs four
        (5, 4, 0, 4, 1),  # one waits, as they may be cut
    ],
)
def test_workers_are_at_most_the_trials_that_are_left(
    tmp_path: Path, asked: int, total: int, finished: int, running: int, expected: int
) -> None:
    path = str(tmp_path / "a.db")
    study = create_study(path, "s")
    for _ in range(finished):
        study.tell(study.ask(), state=TrialState.PRUNED)
    study.tell(study.ask(), state=TrialState.FAIL)  # counts for nothing
    for _ in range(running):
        study.ask().set_user_attr(WORKER.name, owner_name())
    job = job_without_data(path, _make, trials=total)
    with pytest.raises(_Started) as started:
        supervise(study, job, asked, Terminal(io.StringIO()), start=_start)
    assert started.value.args == (expected,)
