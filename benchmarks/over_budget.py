"""What share of a default search is over budget, with training replaced by a fitted curve.

    python benchmarks/over_budget.py

Suggestion, counting, constraint and sampler are the real ones. Training is replaced by accuracy as
a function of size, fitted to networks of this space trained in full, plus the spread of seeds: on
such a slope the sampler is drawn to the limit as it is in a real search. Takes about a minute.
"""

from __future__ import annotations

import random
import statistics
import sys
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import optuna
from optuna.trial import TrialState

import space
from objective import Limits, check_limits
from search.engine.sampling import make_sampler
from search.study_settings import simplest_start


def fitted_accuracy(parameters: int) -> float:
    """Validation accuracy expected of a network of a size; rises steeply, then flattens."""
    return 0.996 - 0.02 * float((1000 / parameters) ** 0.8)


def search(limit: int, seed: int, trials: int = 100) -> list[bool]:
    """Which of a search's trials are over the limit, in order."""
    study = optuna.create_study(direction="maximize", sampler=make_sampler("tpe", seed))
    study.enqueue_trial(simplest_start(limit))
    spread = random.Random(seed)
    for _ in range(trials):
        trial = study.ask()
        try:
            check_limits(trial, space.suggest(trial, max_params=limit), Limits(max_params=limit))
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
            continue
        accuracy = fitted_accuracy(trial.user_attrs["parameters"])
        study.tell(trial, accuracy + spread.gauss(0, 0.0006))
    return [bool(trial.user_attrs["over_budget"]) for trial in study.trials]


def random_share(limit: int, draws: int = 1000) -> float:
    """The share of random draws that are over the limit."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    drawn = (space.suggest(study.ask(), max_params=limit) for _ in range(draws))
    return sum(space.count_parameters(candidate) > limit for candidate in drawn) / draws


def main() -> None:
    """Print a row for each limit."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    print("limit   random draws  of the first 100 trials, seeds 0-4   mean  of the last 20 (most)")
    for limit in (20_000, 5_000, 2_500):
        runs = [search(limit, seed) for seed in range(5)]
        counts = [sum(run) for run in runs]
        print(
            f"{limit:6,}  {random_share(limit):11.1%}   {counts!s:36} "
            f"{statistics.mean(counts):5.1f}  {max(sum(run[-20:]) for run in runs)}"
        )


if __name__ == "__main__":
    main()
