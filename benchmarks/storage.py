"""How fast a study is on SQLite and PostgreSQL, and how busy many workers are kept.

    python benchmarks/storage.py                            all; needs PostgreSQL's server installed
    python benchmarks/storage.py steps --postgresql URL     on a server of yours, an empty database
    python benchmarks/storage.py busy --workers 32          32 workers of about 200 MB each

Tables, as Markdown: what the single steps of a trial cost in a study of so many finished trials;
TPE's time for one candidate; and the share of their time that workers spend in a stand-in for
training, which sleeps and tells of epochs, beside the share of one core that the process takes
which owns the study: all but the training is the real thing, with the real space, sampler, pruner.
Filling the studies for the steps takes some ten minutes.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import optuna

from benchmarks.filled_study import SPACE, fill, finished_trial, new_study
from objective import Objective, Settings
from search.console.arguments import natural, positive
from search.console.terminal import Terminal
from search.data.dataset import DataSource
from search.data.names import MNIST
from search.data.problem import MNIST_PROBLEM
from search.study.judge import Task
from search.study.sampling.choice import make_pruner, make_sampler
from search.study.shared import SharedStudy
from search.study.storages.opening import open_study
from search.training.epoch import Epoch
from search.workers.coordinator import coordinate
from search.workers.local import LocalWorkers
from search.workers.messages import Begun, EpochDone, Stops, Tell, Trained
from space import suggest
from tests.helpers.no_data import NO_DATA, job_without_data

SIZES = (100, 1_000, 5_000)
TPE_SIZES = (100, 1_000, 10_000)
REPEATS = 20
REPORTS = 20  # of a trial
JUDGE = Objective(Settings(source=replace(NO_DATA, name=MNIST)))  # loads no image
FACTS = {"trained_on": {}, "device": "cpu", "versions": {}}  # as many as a worker tells
STATE = bytes(300_000)  # as large as that of 20,000 parameters, their averages and Adam's two


def milliseconds(action: Callable[[], Any], repeats: int = REPEATS) -> float:
    """The median time of an action."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def steps(storage: str, name: str, size: int) -> list[float]:
    """Milliseconds of a dispatch (drawn at random), a report, an end, and a read of all trials.

    A report is one with the pruner's look.
    """
    fill(new_study(storage, name), size)
    study = SharedStudy(
        storage, name, make_sampler("random", 0), make_pruner("median", REPORTS, 10_000)
    )
    tasks: list[Task] = []

    def dispatch() -> None:
        study.dispatch(JUDGE, 10**9, "benchmark", tasks.extend, tasks.remove)

    dispatched = milliseconds(dispatch)
    trial, numbers = study.trial(tasks.pop().number), iter(range(1, REPEATS + 1))
    reported = milliseconds(lambda: JUDGE.report(trial, [epoch(next(numbers))]))
    ended = milliseconds(lambda: study.complete(tasks.pop().number, 0.5), len(tasks))
    read = milliseconds(lambda: open_study(storage, name).get_trials(deepcopy=False), 3)
    return [dispatched, reported, ended, read]


def suggestion(size: int) -> float:
    """Milliseconds in which TPE draws a candidate in a study of so many trials, without storage."""
    study = optuna.create_study(direction="maximize", sampler=make_sampler("tpe", 0))
    study.add_trials([finished_trial(number) for number in range(size)])
    return milliseconds(lambda: suggest(study.ask(), MNIST_PROBLEM, SPACE), 3)


def epoch(number: int) -> Epoch:
    """What a stand-in reports: as good as any trial in the study, so that none is pruned."""
    accuracy = 0.999 + number / 1e6
    return Epoch(number=number, accuracy=accuracy, loss=0.1, training_loss=0.1, seconds=0.5)


class StandIn:
    """Trains nothing: sleeps and tells; writes down when it slept.

    Its first trial waits until all workers are there, and then a part of a trial's time, so that
    they do not all go in step.

    Args:
        worker: Its index.
        source: Not looked at.
        seconds: That it sleeps.
        log: A folder.
        count: Workers.
    """

    def __init__(
        self, worker: int, source: DataSource, *, seconds: float, log: Path, count: int
    ) -> None:
        self._seconds = seconds
        self._log = log / f"{worker}.jsonl"
        self._wait = worker / count * seconds
        self._count = count

    def _meet(self) -> None:
        self._log.touch()
        while len(list(self._log.parent.iterdir())) < self._count:
            time.sleep(0.1)
        time.sleep(self._wait)

    def __call__(self, tasks: Sequence[Task], tell: Tell, stops: Stops) -> None:
        """Train tasks."""
        for task in tasks:
            self._train(task.number, tell)

    def _train(self, trial: int, tell: Tell) -> None:
        tell(Begun(number=trial, facts=FACTS, curve=()))
        if not self._log.exists():
            self._meet()
        for number in range(1, REPORTS + 1):
            start = time.time()
            time.sleep(self._seconds / REPORTS)
            with self._log.open("a") as log:
                log.write(json.dumps([start, time.time()]) + "\n")
            state = STATE if number < REPORTS else None
            tell(EpochDone(number=trial, epoch=epoch(number), state=state))
        tell(Trained(number=trial, value=epoch(REPORTS).accuracy, facts={}, weights=None))


def busy(
    storage: str, *, count: int, before: int, each: int, seconds: float
) -> tuple[float, float]:
    """While all workers have something to do: the share of their time that they sleep.

    And the share of one core that the process takes which owns the study.

    Args:
        storage: A URL.
        count: Workers.
        before: Finished trials that the study holds already.
        each: Trials for each worker.
        seconds: That a trial sleeps.
    """
    name = f"busy {count} {before}"
    fill(new_study(storage, name), before)
    looks: list[tuple[float, float]] = []  # times of the clock and of the processor
    with tempfile.TemporaryDirectory() as folder:
        job = job_without_data(
            storage,
            JUDGE,
            partial(StandIn, seconds=seconds, log=Path(folder), count=count),
            study=name,
            sampler="tpe",
            pruner="median",
            epochs=REPORTS,
            trials=before + each * count,
        )
        code = coordinate(
            job,
            count,
            Terminal(quiet=True),
            start=LocalWorkers,
            on_look=lambda trials: looks.append((time.time(), time.process_time())),
        )
        assert code == 0
        slept: list[list[list[float]]] = [
            [json.loads(line) for line in file.read_text().splitlines()]
            for file in Path(folder).glob("*.jsonl")
        ]
    assert len(slept) == count, "a worker had no trial"
    begin = max(spans[0][0] for spans in slept)
    end = min(spans[-1][1] for spans in slept)
    assert end - begin > seconds, "too few trials to have all workers at work together"
    within = sum(max(0.0, min(b, end) - max(a, begin)) for spans in slept for a, b in spans)
    seen = [look for look in looks if begin <= look[0] <= end]
    owner = (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0])
    return within / (count * (end - begin)), owner


@contextmanager
def storages(url: str | None) -> Iterator[dict[str, str]]:
    """A fresh SQLite file and an empty database of a PostgreSQL server."""
    from tests.cluster.postgres import PostgresServer

    with tempfile.TemporaryDirectory() as folder:
        sqlite = str(Path(folder) / "study.db")
        if url is not None:
            yield {"SQLite": sqlite, "PostgreSQL": url}
            return
        server = PostgresServer("max_connections=300")
        try:
            yield {"SQLite": sqlite, "PostgreSQL": server.create("benchmark")}
        finally:
            server.close()


def row(*cells: object) -> None:
    """Print a line of a table."""
    texts = [f"{cell:,.1f}" if isinstance(cell, float) else str(cell) for cell in cells]
    print(f"| {' | '.join(texts)} |", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", nargs="*", default=["steps", "tpe", "busy"])
    parser.add_argument("--postgresql", metavar="URL", help="default: start a server for this")
    parser.add_argument("--workers", type=positive, default=32)
    parser.add_argument("--seconds", type=float, default=10.0, help="that a stand-in trial takes")
    parser.add_argument("--before", type=natural, nargs="+", default=[0, 1_000], help="trials")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with storages(options.postgresql) as urls:
        if "steps" in options.what:
            row("storage", "trials", "dispatch, ms", "report", "end", "whole read")
            row(*["--:"] * 6)
            for kind, url in urls.items():
                for size in SIZES:
                    row(kind, f"{size:,}", *steps(url, f"steps {size}", size))
        if "tpe" in options.what:
            row("trials", "TPE's time for a candidate, ms")
            row(*["--:"] * 2)
            for size in TPE_SIZES:
                row(f"{size:,}", suggestion(size))
        if "busy" in options.what:
            row("workers", "trials before", "busy, %", "the study's process, % of a core")
            row(*["--:"] * 4)
            for before in options.before:
                share, owner = busy(
                    urls["PostgreSQL"],
                    count=options.workers,
                    before=before,
                    each=4,
                    seconds=options.seconds,
                )
                row(options.workers, f"{before:,}", 100 * share, 100 * owner)


if __name__ == "__main__":
    main()
