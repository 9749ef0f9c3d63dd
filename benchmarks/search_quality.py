"""Whether the default search beats random search at the same number of training-image passes.

    python benchmarks/search_quality.py                     5 seeds, about half an hour on two cores
    python benchmarks/search_quality.py --seeds 8 --passes 6_000_000

A reduced setting: the first 10,000 training images and 6 epochs; space, recipe, limit, sampler and
pruner are the real ones. Each search goes on until its trials have passed so many training images
through a network; pruned trials count with the epochs they had, over-budget ones with none. Prints
the best validation accuracy so far at quarters of the budget, for both, with the difference's mean,
its 95 % interval (paired t over seeds) and how many seeds it favours. Searches are processes of one
thread, as many at a time as there are cores; which ran beside which does not matter, as cost is
counted and not timed.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import optuna
from scipy import stats

from search.cli import positive
from search.engine.arithmetic import Arithmetic

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


def run(search: Search) -> list[tuple[int, float]]:
    """Passes and best validation accuracy so far, after every finished trial."""
    import torch

    from objective import Objective, Settings
    from search.engine.allocator import keep_freed_memory
    from search.engine.hardware import use_bfloat16
    from search.engine.sampling import make_pruner, make_sampler
    from search.engine.sources import locate
    from search.study_settings import simplest_start

    torch.set_num_threads(1)
    keep_freed_memory()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    sampler, pruner = KINDS[search.kind]
    study = optuna.create_study(
        direction="maximize",
        sampler=make_sampler(sampler, search.seed),
        pruner=make_pruner(pruner, EPOCHS, VALIDATION_IMAGES),
    )
    if search.kind == "default":
        study.enqueue_trial(simplest_start(20_000))
    objective = Objective(
        Settings(
            source=locate(),
            epochs=EPOCHS,
            seed=search.seed,
            train_images=TRAIN_IMAGES,
            arithmetic=Arithmetic(bfloat16=use_bfloat16("auto", "cpu")),
        )
    )
    passed, best, history = 0, 0.0, []
    while passed < search.passes:
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


def best_within(history: list[tuple[int, float]], passes: float) -> float:
    """The best accuracy of the trials that a budget has room for."""
    return max((best for passed, best in history if passed <= passes), default=0.0)


def main() -> None:
    """Run all searches and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=positive, default=5)
    parser.add_argument("--passes", type=positive, default=3_000_000)
    options = parser.parse_args()
    jobs = [
        Search(kind=kind, seed=seed, passes=options.passes)
        for seed in range(options.seeds)
        for kind in KINDS
    ]
    with multiprocessing.get_context("spawn").Pool(os.cpu_count()) as pool:
        histories = dict(zip(jobs, pool.map(run, jobs, chunksize=1), strict=True))
    trials = {
        kind: [len(history) for job, history in histories.items() if job.kind == kind]
        for kind in KINDS
    }
    print(f"{options.seeds} seeds; trials of each search:")
    for kind, counts in trials.items():
        print(f"  {kind:8} {' + '.join(KINDS[kind]):14} {counts}")
    print("\npasses (M)  default    random     difference, points       seeds for the default")
    for quarter in range(1, 5):
        budget = options.passes * quarter / 4
        values = {
            kind: [
                best_within(histories[job], budget)
                for job in sorted(histories, key=lambda job: job.seed)
                if job.kind == kind
            ]
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


if __name__ == "__main__":
    main()
