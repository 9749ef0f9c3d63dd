"""What a user gets from racing, from TPE and from chance, at equal work.

    python benchmarks/search_quality.py --keep quality.jsonl       stop it and repeat it at will
    python benchmarks/search_quality.py --seeds 2 --passes 1_000_000       a quick look

A reduced setting: the first 10,000 training images and 6 epochs; space, recipe, limit, samplers and
pruner are the real ones. Each search goes on until its trials have passed so many training images
through a network; pruned trials count with the epochs they had, over-budget ones with none. Then
the first of its leaderboard is trained with fresh seeds: their mean validation accuracy is what
searches are compared by, as the search's own figure flatters what it chose. Prints both, and the
differences with their 95 % intervals (paired t over seeds) and how many seeds they favour.

Searches are processes of one thread, as many at a time as there are cores; which ran beside which
does not matter, as cost is counted and not timed. With --keep every finished search is added to a
file, and the same command runs only those that the file lacks; what another commit or changed files
made is not taken. Eight seeds take two cores an hour and a half where they multiply bfloat16.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):
    sys.path[0] = str(ROOT)

import optuna
from scipy import stats

from search.architecture.spaces import DEFAULT_SPACE, read_space
from search.common.errors import UserError
from search.common.seeds import mix_seed
from search.console.arguments import check_directory, positive, run_command
from search.study.settings import commit
from search.training.arithmetic import Arithmetic

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

    from objective import Objective, Settings

TRAIN_IMAGES = 10_000
EPOCHS = 6
VALIDATION_IMAGES = 10_000  # of MNIST
FRESH_SEEDS = 5  # of the chosen architecture
KINDS = {
    "racing": ("racing", "median"),
    "tpe": ("tpe", "median"),
    "random": ("random", "none"),
}
Job = TypeVar("Job")
Result = TypeVar("Result")
KeptJob = TypeVar("KeptJob", bound="DataclassInstance")
KeptResult = TypeVar("KeptResult", bound="DataclassInstance")


@dataclass(frozen=True, kw_only=True)
class Search:
    """One search to run."""

    kind: str
    seed: int
    passes: int  # training images through a network, all trials together


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a search chose; accuracies are of the validation images, in [0, 1]."""

    trials: int  # of the search
    seeds: int  # of the chosen architecture in it
    says: float  # their mean accuracy
    fresh: tuple[float, ...]  # accuracies with fresh seeds

    @property
    def mean(self) -> float:
        """What the user gets."""
        return statistics.fmean(self.fresh)


def reduced_settings(seed: int, space: Path = DEFAULT_SPACE) -> Settings:
    """The reduced setting, for a process of one thread.

    Args:
        seed: Of every training.
        space: The file of another space.
    """
    import torch

    from objective import Settings
    from search.common.allocator import keep_freed_memory
    from search.data.sources import locate
    from search.training.hardware import use_bfloat16

    torch.set_num_threads(1)
    keep_freed_memory()
    return Settings(
        source=locate(),
        space_file=read_space(space),
        epochs=EPOCHS,
        seed=seed,
        train_images=TRAIN_IMAGES,
        arithmetic=Arithmetic(bfloat16=use_bfloat16("auto", "cpu")),
    )


def run(search: Search) -> Found:
    """Search, and train the first of the leaderboard with fresh seeds."""
    from objective import Objective
    from search.architecture.feasibility import first_candidate
    from search.reporting.architectures import valid_architectures
    from search.reporting.records import StudyLimits
    from search.study.sampling.choice import make_pruner, make_sampler

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler, pruner = KINDS[search.kind]
    study = optuna.create_study(
        direction="maximize",
        sampler=make_sampler(sampler, search.seed),
        pruner=make_pruner(pruner, EPOCHS, VALIDATION_IMAGES),
    )
    objective = Objective(reduced_settings(search.seed))
    if search.kind != "random":
        study.enqueue_trial(first_candidate(objective.settings.space))
    passed = 0
    while passed < search.passes:
        if is_left_alone():
            raise SystemExit
        trial = study.ask()
        try:
            value = objective(trial)
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, value)
        passed += TRAIN_IMAGES * int(study.trials[-1].user_attrs.get("epochs", 0))
    best = valid_architectures(study.trials, StudyLimits())[0]
    return Found(
        trials=len(study.trials),
        seeds=len(best.seeds),
        says=best.mean,
        fresh=tuple(_again(objective, best.first.candidate or "", search.seed)),
    )


def _again(objective: Objective, candidate: str, seed: int) -> Iterator[float]:
    """Accuracies of a candidate with seeds that no search has."""
    from search.study.judge import Task

    for number in range(FRESH_SEEDS):
        fresh = mix_seed(seed, "fresh", number)
        training, _ = objective.begin(Task(number=number, seed=fresh, candidate=candidate))
        for _ in training.epochs():
            pass
        yield objective.end(training)[0]


def read(search: dict[str, Any], found: dict[str, Any]) -> tuple[Search, Found]:
    """A search and what it found, of their fields in a file of --keep."""
    return Search(**search), Found(**{**found, "fresh": tuple(map(float, found["fresh"]))})


def add_keep(parser: argparse.ArgumentParser) -> None:
    """Add --keep."""
    parser.add_argument("--keep", type=Path, metavar="FILE", help="what has ended, JSON lines")


def check_keep(keep: Path | None) -> None:
    """Refuse a file that cannot be written to.

    Raises:
        UserError: It is a folder, or lies where nothing can be written.
    """
    if keep is not None:
        check_directory(keep.parent, "--keep")
        if keep.is_dir():
            raise UserError(f"--keep {keep} is a folder", "Name a file")


def run_all(
    do: Callable[[KeptJob], KeptResult],
    jobs: Sequence[KeptJob],
    keep: Path | None,
    read: Callable[[dict[str, Any], dict[str, Any]], tuple[KeptJob, KeptResult]],
) -> dict[KeptJob, KeptResult]:
    """What all jobs gave; runs those that the file does not hold of this commit.

    Args:
        do: Runs a job; a function of a module, as a process of its own calls it.
        jobs: Dataclasses that say what to run.
        keep: A file of JSON lines, one a job, which is read and added to; None keeps nothing.
        read: Makes a job and its result of their fields in the file.

    Raises:
        UserError: A line of the file is none that this command kept.
    """
    made_by = commit(ROOT)
    kept = _kept(keep, made_by, read) if keep is not None and keep.exists() else {}
    found = {job: kept[job] for job in jobs if job in kept}
    missing = [job for job in jobs if job not in found]
    if found:
        print(f"{len(found)} of {len(jobs)} from {keep}", flush=True)
    for job, result in beside(partial(_named, do), missing):
        found[job] = result
        if keep is not None:
            line = {"job": asdict(job), "commit": made_by, "result": asdict(result)}
            with keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    return found


def _kept(
    file: Path,
    made_by: str,
    read: Callable[[dict[str, Any], dict[str, Any]], tuple[KeptJob, KeptResult]],
) -> dict[KeptJob, KeptResult]:
    """What a file holds of a commit; nothing of one that does not tell which code ran."""
    found: dict[KeptJob, KeptResult] = {}
    text = file.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        try:
            kept = json.loads(line)
            job, result = read(kept["job"], kept["result"])
            by_commit = kept["commit"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"line {number} of {file} is none that this command kept",
                "Delete that line, or name another file with --keep",
            ) from error
        if by_commit == made_by and not made_by.endswith(("-dirty", "unknown")):
            found[job] = result
    return found


def _named(do: Callable[[Job], Result], job: Job) -> tuple[Job, Result]:
    """A job with what it gave, as they end in any order."""
    return job, do(job)


def beside(do: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[Result]:
    """Do jobs in processes, one a core at a time; each result is given as soon as it is there."""
    if not jobs:
        return
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        yield from pool.imap_unordered(do, jobs)


def is_left_alone() -> bool:
    """Whether the command that started this process was killed; nobody waits for a result then."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def difference(first: Sequence[float], second: Sequence[float]) -> tuple[float, float]:
    """Mean difference of paired values, and half of its 95 % interval (t; NaN of a single pair)."""
    gaps = [a - b for a, b in zip(first, second, strict=True)]
    half = float("nan")
    if len(gaps) > 1:
        reach = float(stats.t.ppf(0.975, len(gaps) - 1))
        half = reach * statistics.stdev(gaps) / len(gaps) ** 0.5
    return statistics.fmean(gaps), half


def main() -> int:
    """Run all searches and print the tables; 0, as it ends with no other code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=positive, default=8)
    parser.add_argument("--passes", type=positive, default=3_000_000)
    add_keep(parser)
    options = parser.parse_args()
    check_keep(options.keep)
    jobs = [
        Search(kind=kind, seed=seed, passes=options.passes)
        for seed in range(options.seeds)
        for kind in KINDS
    ]
    found = run_all(run, jobs, options.keep, read)
    by_kind = {kind: [found[job] for job in jobs if job.kind == kind] for kind in KINDS}
    print(f"{options.seeds} seeds; fresh seeds of what each search chose, by seed, %:")
    for kind, results in by_kind.items():
        each = " ".join(f"{100 * one.mean:.3f}" for one in results)
        print(f"  {kind:8} {' + '.join(KINDS[kind]):15} {each}")
    print("\n          trials  seeds of the chosen  the search says  fresh seeds")
    for kind, results in by_kind.items():
        print(
            f"  {kind:8}"
            f"{statistics.fmean(one.trials for one in results):6.1f}"
            f"{statistics.fmean(one.seeds for one in results):21.1f}"
            f"{100 * statistics.fmean(one.says for one in results):15.3f} %"
            f"{100 * statistics.fmean(one.mean for one in results):11.3f} %"
        )
    print("\n  fresh seeds        difference, points  seeds for racing")
    for other in ("tpe", "random"):
        pair = [[100 * one.mean for one in by_kind[kind]] for kind in ("racing", other)]
        mean, half = difference(*pair)
        better = sum(a > b for a, b in zip(*pair, strict=True))
        print(f"  racing - {other:8} {mean:+10.3f} ± {half:.3f} {better:14} of {options.seeds}")
    return 0


if __name__ == "__main__":
    run_command(main)
