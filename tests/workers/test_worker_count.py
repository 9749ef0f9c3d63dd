"""How many workers a run starts: at most one for each trial that is left and that nobody runs."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from optuna.trial import TrialState

from search.common.interrupts import STOP_SIGNALS
from search.console.terminal import Terminal
from search.data.dataset import DataSource
from search.study.attributes import PARENT
from search.study.storages.opening import RECORDED, create_study
from search.workers.coordinator import coordinate
from search.workers.messages import MakeTraining, Training, Workers
from tests.helpers.no_data import job_without_data
from tests.workers.stand_ins import Judge

pytestmark = pytest.mark.processes


@contextmanager
def another_process() -> Iterator[str]:
    """The name of a process that runs meanwhile."""
    code = "from search.common.process_id import process_id as n; print(n(), flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.communicate("")


class _Started(Exception):
    """With how many workers."""


def _make(index: int, source: DataSource) -> Training:
    raise AssertionError("no worker starts here")


def _start(make: MakeTraining, source: DataSource, count: int) -> Workers:
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
    study.set_user_attr("settings", dict.fromkeys(RECORDED, {}))
    for _ in range(finished):
        study.tell(study.ask(), state=TrialState.PRUNED)
    study.tell(study.ask(), state=TrialState.FAIL)  # counts for nothing
    with another_process() as other:
        for _ in range(running):
            study.ask().set_user_attr(PARENT.name, other)
        check(path, total, asked, expected)


def check(path: str, total: int, asked: int, expected: int) -> None:
    job = job_without_data(path, Judge(), _make, trials=total)
    with pytest.raises(_Started) as started:
        coordinate(job, asked, Terminal(io.StringIO()), start=_start)
    assert started.value.args == (expected,)
