"""What early epochs say about the last one, and what a median rule ends or would have ended.

    python search/run.py --sampler random --pruner none --trials 33 --seed 11 --storage random.db
    python benchmarks/pruning.py random.db
    python benchmarks/pruning.py reports/under-5000/study.db

Takes any study. First table, of the trials that ran all epochs: Spearman's rank correlation between
the accuracy after epoch k and after the last, over all of them and within the better half. Second
table: the median rule replayed on all trials in many random orders, for several startups, warm-ups
and allowances for chance (in standard errors of an accuracy): how many of the ten best complete
trials it ends, how often the very best, and the epochs a trial takes. A trial that was pruned when
it was recorded, and that a rule does not end by then, is counted with all epochs: an upper bound.
"""

from __future__ import annotations

import math
import random
import statistics
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from optuna.trial import TrialState
from scipy.stats import spearmanr

from search.study.storages.opening import open_study

ORDERS = 100
Curve = list[float]


def load_curves(storage: str) -> tuple[list[Curve], int]:
    """The accuracies by epoch of all trained trials but enqueued ones, and the validation images.

    Complete ones come first, best last accuracy first.
    """
    study = open_study(storage, read_only=True)
    images = study.user_attrs["settings"]["dataset"]["validation_images"]
    states = (TrialState.COMPLETE, TrialState.PRUNED)
    curves = [
        [value for _, value in sorted(trial.intermediate_values.items())]
        for trial in study.get_trials(deepcopy=False, states=states)
        if "label" not in trial.user_attrs and trial.intermediate_values
    ]
    longest = max(map(len, curves))
    return sorted(curves, key=lambda c: (len(c) < longest, -c[-1])), images


def replay(
    curves: list[Curve], order: list[int], images: int, startup: int, warmup: int, errors: float
) -> dict[int, int]:
    """The epochs that each trial of an order runs under the median rule.

    A trial ends after an epoch k >= ``warmup`` if its best accuracy so far is below the median of
    the complete trials' accuracies after epoch k by more than so many standard errors, once
    ``startup`` trials are complete.
    """
    total = len(curves[0])
    complete: list[int] = []
    epochs = dict.fromkeys(order, total)
    for trial in order:
        curve = curves[trial]
        for k in range(max(warmup, 1), min(len(curve), total - 1) + 1):
            if len(complete) < startup:
                break
            median = statistics.median(curves[other][k - 1] for other in complete)
            allowance = errors * math.sqrt(median * (1 - median) / images)
            if max(curve[:k]) < median - allowance:
                epochs[trial] = k
                break
        if epochs[trial] == total == len(curve):
            complete.append(trial)
    return epochs


def main() -> None:
    """Print both tables."""
    if len(sys.argv) != 2:
        sys.exit("error: the study's file is needed. See the head of this file.")
    curves, images = load_curves(sys.argv[1])
    total = len(curves[0])
    complete = [curve for curve in curves if len(curve) == total]
    last = [curve[-1] for curve in complete]
    half = len(complete) // 2
    mean = statistics.mean(map(len, curves))
    print(
        f"{len(curves)} candidates, {len(complete)} of them in all {total} epochs (mean {mean:.1f})"
        f"; best {last[0]:.4f}, worst {last[-1]:.4f}"
    )
    print("\nepoch  rank correlation with the last epoch: all  the better half")
    for k in range(1, total + 1):
        if k in (1, 2, 3) or k % 2 == 1 or k == total:
            at_k = [curve[k - 1] for curve in complete]
            overall = spearmanr(at_k, last).statistic
            among = spearmanr(at_k[:half], last[:half]).statistic
            print(f"{k:5}  {overall:41.2f}  {among:15.2f}")
    print("\nstartup  warm-up  standard errors  of the ten best ended  the best ended  epochs")
    shuffler = random.Random(0)
    orders = [shuffler.sample(range(len(curves)), len(curves)) for _ in range(ORDERS)]
    for startup in (5, 10):
        for warmup in (3, 5, 8):
            for errors in (0.0, 0.5, 1.0, 2.0):
                runs = [replay(curves, o, images, startup, warmup, errors) for o in orders]
                mean = statistics.mean(statistics.mean(run.values()) for run in runs)
                ten = statistics.mean(sum(run[i] < total for i in range(10)) for run in runs)
                best = statistics.mean(run[0] < total for run in runs)
                row = f"{startup:7}  {warmup:7}  {errors:15.1f}  {ten:21.1f}  {best:14.0%}"
                print(f"{row}  {mean:6.1f}")


if __name__ == "__main__":
    main()
