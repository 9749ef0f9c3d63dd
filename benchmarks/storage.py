"""How fast a study is on SQLite and PostgreSQL, and how busy many workers are kept.

    python benchmarks/storage.py                            all; needs PostgreSQL's server installed
    python benchmarks/storage.py steps --postgresql URL     on a server of yours, an empty database
    python benchmarks/storage.py busy --workers 32          32 workers of about 120 MB each

Tables, as Markdown: what the single steps of a trial cost in a study of so many finished trials;
operations per second of concurrent processes (one report, committed, is one operation); TPE's time
for one candidate; and the share of their time that workers spend in a stand-in for training: it
sleeps and reports, the rest is the real worker's loop with the real space, sampler and pruner.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import optuna

from benchmarks.filled_study import LIMITS, SPACE, fill, finished_trial, new_study
from objective import _Watch, check_limits, draw
from search.cli import natural, positive
from search.engine import workers
from search.engine.dataset import DataSource
from search.engine.frugal import together
from search.engine.problem import MNIST_PROBLEM
from search.engine.sampling import make_sampler
from search.engine.storage import connect, open_study
from search.engine.training import Epoch
from search.supervision import supervise
from search.terminal import Terminal
from tests.no_data import job_without_data

SIZES = (100, 1_000, 5_000)
TPE_SIZES = (100, 1_000, 10_000)
REPEATS = 20
REPORTS = 20  # of a trial


def milliseconds(action: Callable[[], Any], repeats: int = REPEATS) -> float:
    """The median time of an action."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        times.append(1000 * (time.perf_counter() - start))
    return statistics.median(times)


def job_for(storage: str, study: str, make_objective: Any = None, **more: Any) -> workers.Job:
    """A job with the search's own sampler and pruner."""
    settings = {"sampler": "tpe", "pruner": "median", "epochs": REPORTS, "trials": 10**9}
    return job_without_data(storage, make_objective, **{"study": study, **settings, **more})


def steps(storage: str, name: str, size: int) -> list[float]:
    """Milliseconds of ask (without the sampler), report, tell, and a whole read for a report."""
    new_study(storage, name)
    fill(storage, name, size)
    study = workers.load_study(job_for(storage, name, sampler="random"))
    job = job_for(storage, name)
    workers._claim(study, job, "benchmark")  # the first one reads the whole study
    trials: list[optuna.Trial] = []

    def ask() -> None:
        _, trial = workers._claim(study, job, "benchmark")
        assert trial is not None
        trials.append(trial)

    asked = milliseconds(ask)
    reporting, count = trials[0], iter(range(10**6))
    reported = milliseconds(lambda: reporting.report(0.5, next(count)))
    looked = milliseconds(lambda: reporting.should_prune())
    told = milliseconds(lambda: study.tell(trials.pop(), 0.5))
    read = milliseconds(lambda: open_study(storage, name).get_trials(deepcopy=False), 3)
    return [asked, reported, looked, told, read]


def report_for(storage: str, study: str, seconds: float, start: Any, counts: Any) -> None:
    """In a process: report to a trial of its own for so long."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    opened = optuna.load_study(study_name=study, storage=connect(storage))
    trial = opened.ask()
    start.wait()
    end = time.monotonic() + seconds
    step = 0
    while time.monotonic() < end:
        trial.report(0.5, step)
        step += 1
    counts.put(step)


def operations(storage: str, processes: int, seconds: float = 5.0) -> float:
    """Reports per second of so many concurrent processes."""
    name = f"operations {processes}"
    new_study(storage, name)
    context = multiprocessing.get_context("spawn")
    start, counts = context.Barrier(processes), context.Queue()
    arguments = (storage, name, seconds, start, counts)
    reporting = [context.Process(target=report_for, args=arguments) for _ in range(processes)]
    for process in reporting:
        process.start()
    total: int = sum(counts.get() for _ in reporting)
    for process in reporting:
        process.join()
    return total / seconds


def suggestion(size: int) -> float:
    """Milliseconds in which TPE draws a candidate in a study of so many trials, without storage."""
    study = optuna.create_study(direction="maximize", sampler=make_sampler("tpe", 0))
    study.add_trials([finished_trial(number) for number in range(size)])
    return milliseconds(lambda: draw(study.ask(), SPACE, MNIST_PROBLEM), 3)


def epoch(number: int) -> Epoch:
    """What a stand-in reports: as good as any trial in the study, so that none is pruned."""
    accuracy = 0.999 + number / 1e6
    return Epoch(number=number, accuracy=accuracy, loss=0.1, training_loss=0.1, seconds=0.5)


class StandIn:
    """Trains nothing: sleeps and reports; writes down when it slept.

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

    def __call__(self, trial: optuna.Trial, should_stop: Callable[[], bool]) -> float:
        """Judge a trial as the objective does, but for the training."""
        with together(trial):
            check_limits(trial, draw(trial, SPACE, MNIST_PROBLEM), LIMITS)
        if not self._log.exists():
            self._meet()
        watch = _Watch(trial)
        for number in range(1, REPORTS + 1):
            start = time.time()
            time.sleep(self._seconds / REPORTS)
            with self._log.open("a") as log:
                log.write(json.dumps([start, time.time()]) + "\n")
            watch(epoch(number))
        watch.record()
        return epoch(REPORTS).accuracy


def busy_share(storage: str, *, count: int, before: int, each: int, seconds: float) -> float:
    """The share of their time that workers sleep, while all of them have something to do.

    Args:
        storage: A URL.
        count: Workers.
        before: Finished trials that the study holds already.
        each: Trials for each worker.
        seconds: That a trial sleeps.
    """
    name = f"busy {count} {before}"
    study = new_study(storage, name)
    fill(storage, name, before)
    with tempfile.TemporaryDirectory() as folder:
        job = job_for(
            storage,
            name,
            trials=before + each * count,
            make_objective=partial(StandIn, seconds=seconds, log=Path(folder), count=count),
        )
        code = supervise(study, job, count, Terminal(quiet=True))
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
    return within / (count * (end - begin))


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
    parser.add_argument("what", nargs="*", default=["steps", "operations", "tpe", "busy"])
    parser.add_argument("--postgresql", metavar="URL", help="default: start a server for this")
    parser.add_argument("--workers", type=positive, default=32)
    parser.add_argument("--seconds", type=float, default=10.0, help="that a stand-in trial takes")
    parser.add_argument("--before", type=natural, nargs="+", default=[0, 1_000], help="trials")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with storages(options.postgresql) as urls:
        if "steps" in options.what:
            row("storage", "trials", "ask, ms", "report", "prune?", "tell", "whole read")
            row(*["--:"] * 7)
            for kind, url in urls.items():
                for size in SIZES:
                    row(kind, f"{size:,}", *steps(url, f"steps {size}", size))
        if "operations" in options.what:
            row("storage", "processes", "operations a second")
            row(*["--:"] * 3)
            for kind, url in urls.items():
                for processes in (1, 8):
                    row(kind, processes, operations(url, processes))
        if "tpe" in options.what:
            row("trials", "TPE's time for a candidate, ms")
            row(*["--:"] * 2)
            for size in TPE_SIZES:
                row(f"{size:,}", suggestion(size))
        if "busy" in options.what:
            row("workers", "trials before", "busy, %")
            row(*["--:"] * 3)
            for before in options.before:
                share = busy_share(
                    urls["PostgreSQL"],
                    count=options.workers,
                    before=before,
                    each=4,
                    seconds=options.seconds,
                )
                row(options.workers, f"{before:,}", 100 * share)


if __name__ == "__main__":
    main()
