"""Whether the default search beats random search at the same number of training-image passes.

    python benchmarks/search_quality.py                     5 seeds
    python benchmarks/search_quality.py --seeds 8 --passes 6_000_000
    python benchmarks/search_quality.py --keep quality.jsonl       stop it and repeat it at will

A reduced setting: the first 10,000 training images and 6 epochs; space, recipe, limit, sampler and
pruner are the real ones. Each search goes on until its trials have passed so many training images
through a network; pruned trials count with the epochs they had, over-budget ones with none. Prints
the best validation accuracy so far at quarters of the budget, for both, with the difference's mean,
its 95 % interval (paired t over seeds) and how many seeds it favours. Searches are processes of one
thread, as many at a time as there are cores; which ran beside which does not matter, as cost is
counted and not timed. With --keep every finished search is added to a file, and the same command
runs only those that the file lacks; what another commit or changed files made is not taken. Five
seeds take two cores half an hour where they multiply bfloat16, 110 minutes with AVX2 alone.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):
    sys.path[0] = str(ROOT)

import optuna
from scipy import stats

from search.common.errors import UserError
from search.console.arguments import check_directory, positive, run_command
from search.study.settings import commit
from search.training.arithmetic import Arithmetic

TRAIN_IMAGES = 10_000
EPOCHS = 6
VALIDATION_IMAGES = 10_000  # of MNIST
KINDS = {"default": ("tpe", "median"), "random": ("random", "none")}


@dataclass(frozen=True, kw_only=True)
class Search:
    """One search to run."""

    kind: str
    seed: int
    passes: int  # training images through a network, all trials together


History = list[tuple[int, float]]  # passes and best accuracy so far, after every trial


def run(search: Search) -> History:
    """Passes and best validation accuracy so far, after every finished trial."""
    import torch

    from objective import Objective, Settings
    from search.architecture.feasibility import simplest_start
    from search.data.sources import locate
    from search.study.sampling import make_pruner, make_sampler
    from search.training.allocator import keep_freed_memory
    from search.training.hardware import use_bfloat16

    torch.set_num_threads(1)
    keep_freed_memory()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler, pruner = KINDS[search.kind]
    study = optuna.create_study(
        direction="maximize",
        sampler=make_sampler(sampler, search.seed),
        pruner=make_pruner(pruner, EPOCHS, VALIDATION_IMAGES),
    )
    objective = Objective(
        Settings(
            source=locate(),
            epochs=EPOCHS,
            seed=search.seed,
            train_images=TRAIN_IMAGES,
            arithmetic=Arithmetic(bfloat16=use_bfloat16("auto", "cpu")),
        )
    )
    if search.kind == "default":
        study.enqueue_trial(simplest_start(objective.settings.space))
    passed, best, history = 0, 0.0, []
    while passed < search.passes and not is_left_alone():
        trial = study.ask()
        try:
            value = objective(trial)
        except optuna.TrialPruned:
            study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            study.tell(trial, value)
            best = max(best, value)
        passed += TRAIN_IMAGES * int(study.trials[-1].user_attrs.get("epochs", 0))
        history.append((passed, best))
    return history


def run_all(jobs: Sequence[Search], keep: Path | None) -> dict[Search, History]:
    """The histories of all searches; runs those that the file does not hold of this commit.

    Args:
        jobs: The searches.
        keep: A file of JSON lines, one a search, which is read and added to; None keeps nothing.

    Raises:
        UserError: A line of the file is none of a kept search.
    """
    made_by = commit(ROOT)
    kept = _kept(keep, made_by) if keep is not None and keep.exists() else {}
    found = {job: kept[job] for job in jobs if job in kept}
    missing = [job for job in jobs if job not in found]
    if found:
        print(f"{len(found)} of {len(jobs)} searches from {keep}", flush=True)
    for job, history in run_beside(missing):
        found[job] = history
        if keep is not None:
            line = {"search": asdict(job), "commit": made_by, "history": history}
            with keep.open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
    return found


def _kept(file: Path, made_by: str) -> dict[Search, History]:
    """What a file holds of a commit; nothing of one that does not tell which code ran."""
    found: dict[Search, History] = {}
    text = file.read_text(encoding="utf-8", errors="replace")
    for number, line in enumerate(text.splitlines(), 1):
        try:
            kept = json.loads(line)
            search = Search(**kept["search"])
            history = [(int(passed), float(best)) for passed, best in kept["history"]]
            by_commit = kept["commit"]
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(
                f"line {number} of {file} is no search that this command kept",
                "Delete that line, or name another file with --keep",
            ) from error
        if by_commit == made_by and not made_by.endswith(("-dirty", "unknown")):
            found[search] = history
    return found


def run_beside(jobs: Sequence[Search]) -> Iterator[tuple[Search, History]]:
    """Run searches, one a core at a time; each is given as soon as it has ended."""
    if not jobs:
        return
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        yield from pool.imap_unordered(_run_named, jobs)


def is_left_alone() -> bool:
    """Whether the command that started this process was killed; nobody waits for a result then."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _run_named(search: Search) -> tuple[Search, History]:
    return search, run(search)


def best_within(history: History, passes: float) -> float:
    """The best accuracy of the trials that a budget has room for."""
    return max((best for passed, best in history if passed <= passes), default=0.0)


def main() -> int:
    """Run all searches and print the table; 0, as it ends with no other code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=positive, default=5)
    parser.add_argument("--passes", type=positive, default=3_000_000)
    parser.add_argument("--keep", type=Path, metavar="FILE", help="finished searches, JSON lines")
    options = parser.parse_args()
    if options.keep is not None:
        check_directory(options.keep.parent, "--keep")
        if options.keep.is_dir():
            raise UserError(f"--keep {options.keep} is a folder", "Name a file")
    jobs = [
        Search(kind=kind, seed=seed, passes=options.passes)
        for seed in range(options.seeds)
        for kind in KINDS
    ]
    histories = run_all(jobs, options.keep)
    trials = {kind: [len(histories[job]) for job in jobs if job.kind == kind] for kind in KINDS}
    print(f"{options.seeds} seeds; trials of each search:")
    for kind, counts in trials.items():
        print(f"  {kind:8} {' + '.join(KINDS[kind]):14} {counts}")
    print("\npasses (M)  default    random     difference, points       seeds for the default")
    for quarter in range(1, 5):
        budget = options.passes * quarter / 4
        values = {
            kind: [best_within(histories[job], budget) for job in jobs if job.kind == kind]
            for kind in KINDS
        }
        gaps = [100 * (a - b) for a, b in zip(values["default"], values["random"], strict=True)]
        half = float("nan")
        if len(gaps) > 1:
            reach = float(stats.t.ppf(0.975, len(gaps) - 1))
            half = reach * statistics.stdev(gaps) / len(gaps) ** 0.5
        print(
            f"{budget / 1e6:10.2f}  {100 * statistics.mean(values['default']):6.2f} %  "
            f"{100 * statistics.mean(values['random']):6.2f} %  "
            f"{statistics.mean(gaps):+7.2f} ± {half:.2f}  {sum(gap > 0 for gap in gaps):12}"
        )
    return 0


if __name__ == "__main__":
    run_command(main)
