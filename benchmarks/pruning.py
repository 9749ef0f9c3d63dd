"""What early epochs say about the last one, and what a median rule would have killed.

    python search/run.py --sampler random --pruner none --trials 33 --seed 11 --storage random.db
    python benchmarks/pruning.py random.db

Takes the trials that ran all epochs. First table: Spearman's rank correlation between the accuracy
after epoch k and after the last, over all trials and within the best third. Second table: the
median rule replayed on these curves in many random orders, for several startups and warm-ups: the
share of epochs it saves, how often it kills one of the best five, how often the very best.
"""

from __future__ import annotations

import random
import statistics
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from optuna.trial import TrialState
from scipy.stats import spearmanr

from search.engine.storage import open_study

ORDERS = 500
Curve = list[float]


def load_curves(storage: str) -> list[Curve]:
    """The accuracies by epoch of all complete trials but the enqueued ones, best last one first."""
    study = open_study(storage)
    curves = [
        [value for _, value in sorted(trial.intermediate_values.items())]
        for trial in study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        if "label" not in trial.user_attrs
    ]
    longest = max(map(len, curves))
    return sorted((curve for curve in curves if len(curve) == longest), key=lambda c: -c[-1])


def replay(curves: list[Curve], order: list[int], startup: int, warmup: int) -> dict[int, int]:
    """The epochs that each trial of an order runs under Optuna's median rule.

    A trial ends after an epoch k >= ``warmup`` if its best accuracy so far is below the median of
    the complete trials' accuracies after epoch k, once ``startup`` trials are complete.
    """
    complete: list[int] = []
    epochs = {}
    for trial in order:
        curve = curves[trial]
        epochs[trial] = len(curve)
        for k in range(max(warmup, 1), len(curve)):
            if len(complete) < startup:
                break
            median = statistics.median(curves[other][k - 1] for other in complete)
            if max(curve[:k]) < median:
                epochs[trial] = k
                break
        if epochs[trial] == len(curve):
            complete.append(trial)
    return epochs


def main() -> None:
    """Print both tables."""
    if len(sys.argv) != 2:
        sys.exit("error: the study's file is needed. See the head of this file.")
    curves = load_curves(sys.argv[1])
    last = [curve[-1] for curve in curves]
    best_third = len(curves) // 3
    total = len(curves[0])
    print(
        f"{len(curves)} random candidates, {total} epochs; best {last[0]:.4f}, worst {last[-1]:.4f}"
    )
    print("\nepoch  rank correlation with the last epoch: all  the best third")
    for k in range(1, total + 1):
        if k in (1, 2, 3) or k % 2 == 1 or k == total:
            at_k = [curve[k - 1] for curve in curves]
            overall = spearmanr(at_k, last).statistic
            among = spearmanr(at_k[:best_third], last[:best_third]).statistic
            print(f"{k:5}  {overall:41.2f}  {among:14.2f}")
    print("\nstartup  warm-up  epochs saved  one of the best five killed  the best killed")
    shuffler = random.Random(0)
    orders = [shuffler.sample(range(len(curves)), len(curves)) for _ in range(ORDERS)]
    for startup in (5, 10):
        for warmup in (1, 3, 5, 7, 10):
            runs = [replay(curves, order, startup, warmup) for order in orders]
            saved = 1 - statistics.mean(sum(run.values()) for run in runs) / (total * len(curves))
            five = statistics.mean(any(run[i] < total for i in range(5)) for run in runs)
            best = statistics.mean(run[0] < total for run in runs)
            print(f"{startup:7}  {warmup:7}  {saved:12.0%}  {five:27.0%}  {best:15.0%}")


if __name__ == "__main__":
    main()
