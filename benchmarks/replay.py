"""Compares samplers on searches that are simulated from recorded trainings: minutes, not hours.

    python benchmarks/replay.py --recorded benchmarks/recorded.jsonl

The recorded trainings (``record.py``: random candidates, two seeds each) are fitted by a Gaussian
process, and once more by trees, as samplers that think in one of these may be favoured by it. What
is fitted is the logarithm of the validation loss, and the logarithm of the error is a line of it.
Each search has a landscape of its own, fitted to two thirds of the candidates, and each training
luck as large as the recorded seeds show in the better half. Prints what a fresh seed of the chosen
candidate has, the mean of all searches with its 95 % interval (t), what the search itself says of
it, and the difference to TPE on the same landscapes. ``search_quality.py`` has the last word.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):
    sys.path[0] = str(ROOT)

import numpy as np
import optuna
import torch
from optuna.distributions import BaseDistribution, json_to_distribution
from optuna.samplers import BaseSampler, GPSampler, RandomSampler, TPESampler
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, WhiteKernel

from benchmarks.search_quality import difference
from search.console.arguments import positive, run_command
from search.study.sampling.racing import RacingSampler, trained

SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    "race 0, local 0": lambda seed: RacingSampler(seed=seed, race=0.0, local=0.0),
    "race 0.2, local 0": lambda seed: RacingSampler(seed=seed, race=0.2, local=0.0),
    "race 0.2, local 0.2": lambda seed: RacingSampler(seed=seed, race=0.2, local=0.2),
    "race 0.2, local 0.5": lambda seed: RacingSampler(seed=seed, race=0.2, local=0.5),
    "race 0.2, local 1": lambda seed: RacingSampler(seed=seed, race=0.2, local=1.0),
    "race 0.4, local 0.2": lambda seed: RacingSampler(seed=seed, race=0.4, local=0.2),
    "default": lambda seed: RacingSampler(seed=seed),
    "default, stacks of 2": lambda seed: RacingSampler(seed=seed, stack=2),
    "default, stacks of 4": lambda seed: RacingSampler(seed=seed, stack=4),
    "default, stacks of 8": lambda seed: RacingSampler(seed=seed, stack=8),
    "optuna's gp": lambda seed: GPSampler(seed=seed),
}
STACKS = {f"default, stacks of {count}": count for count in (2, 4, 8)}  # 1 else
SHARE = 2 / 3  # of the candidates that a landscape is fitted to
MODELS: dict[str, Callable[[], Any]] = {
    "gaussian process": lambda: GaussianProcessRegressor(
        ConstantKernel() * RBF(1.5, (0.5, 10.0)) + WhiteKernel(0.3), normalize_y=True
    ),
    "trees": lambda: ExtraTreesRegressor(200, min_samples_leaf=2, random_state=0),
}


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What was recorded, as arrays."""

    space: Mapping[str, BaseDistribution]
    points: np.ndarray  # [candidates, parameters], in the unit cube
    losses: np.ndarray  # [candidates]: logarithms, means over seeds
    line: tuple[float, float]  # logarithm of the error from that of the loss: slope and intercept
    luck: float  # of a training, standard deviation of the logarithm of the error

    def landscape(self, model: str, number: int) -> Callable[[Mapping[str, Any]], float]:
        """The logarithm of the error of any parameters, without luck."""
        shuffled = np.random.default_rng([number, 0]).permutation(len(self.losses))
        chosen = shuffled[: round(SHARE * len(shuffled))]
        fitted = MODELS[model]().fit(self.points[chosen], self.losses[chosen])
        slope, intercept = self.line
        return lambda params: (
            intercept + slope * float(fitted.predict([point_in(self.space, params)])[0])
        )


def read(lines: Sequence[Mapping[str, Any]]) -> Recorded:
    """What the recorded trainings say of luck, and of error by loss, in the better half."""
    space = {name: json_to_distribution(text) for name, text in lines[0]["ranges"].items()}
    seeds: dict[int, list[Mapping[str, Any]]] = {}
    for line in lines:
        seeds.setdefault(line["candidate"], []).append(line)
    both = [np.log([[one["loss"], 1 - one["accuracy"]] for one in of]) for of in seeds.values()]
    better = sorted((of for of in both if len(of) > 1), key=lambda of: float(of[:, 0].mean()))
    better = better[: len(better) // 2]
    luck = np.mean([np.cov(of.T) for of in better], axis=0)
    means = np.array([of.mean(axis=0) for of in better])
    true = np.diag(np.cov(means.T) - luck / 2)
    slope = math.sqrt(max(true[1], 1e-6) / max(true[0], 1e-6))  # reduced major axis
    middle = means.mean(axis=0)
    return Recorded(
        space=space,
        points=np.array(
            [[_unit(of[0]["params"][n], k) for n, k in space.items()] for of in seeds.values()]
        ),
        losses=np.array([of[:, 0].mean() for of in both]),
        line=(slope, float(middle[1] - slope * middle[0])),
        luck=math.sqrt(luck[1, 1]),
    )


def search(job: tuple[Recorded, str, str, int, int]) -> tuple[float, float]:
    """What a fresh seed of the chosen one has, and what the search says of it.

    Args:
        job: What was recorded, the model's name, the sampler's, the search's number, its trainings.
    """
    recorded, model, name, number, trainings = job
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    landscape = recorded.landscape(model, number)
    luck = np.random.default_rng([number, 1])
    study = optuna.create_study(direction="maximize", sampler=SAMPLERS[name](number))
    queued = 0
    for _ in range(trainings):
        trial = study.ask(dict(recorded.space))
        if not queued and any(trial.params == one.params for one in study.trials[:-1]):
            queued = STACKS.get(name, 1)
            for _ in range(queued - 1):
                study.enqueue_trial(trial.params)
        queued = max(0, queued - 1)
        lucky = recorded.luck * luck.normal()
        study.tell(trial, 1 - math.exp(landscape(trial.params) + lucky))
    chosen = max(
        trained(study.trials, study.direction), key=lambda one: (one.posterior.expected, one.scores)
    )
    # The mean of a log-normal error is above its median.
    fresh = landscape(chosen.first.params) + recorded.luck**2 / 2
    return 1 - math.exp(fresh), statistics.fmean(chosen.scores)


def point_in(space: Mapping[str, BaseDistribution], params: Mapping[str, Any]) -> list[float]:
    """Parameters as a point in the unit cube."""
    return [_unit(params[name], kind) for name, kind in space.items()]


def _unit(value: Any, kind: Any) -> float:
    """A number's place in its range, from 0 to 1."""
    if kind.single():
        return 0.5
    low, high = (math.log(end) if kind.log else end for end in (kind.low, kind.high))
    return float(((math.log(value) if kind.log else value) - low) / (high - low))


def main() -> int:
    """Print the tables; 0, as it ends with no other code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recorded", type=Path, required=True, metavar="FILE")
    parser.add_argument("--searches", type=positive, default=24)
    parser.add_argument("--trainings", type=positive, default=50, help="of a search")
    parser.add_argument("--samplers", nargs="+", choices=SAMPLERS, default=list(SAMPLERS))
    options = parser.parse_args()
    recorded = read([json.loads(line) for line in options.recorded.read_text().splitlines()])
    print(
        f"{len(recorded.losses)} candidates; luck in the better half {recorded.luck:.3f} of the "
        f"error, which is the loss to the power of {recorded.line[0]:.2f}"
    )
    with get_context("spawn").Pool() as pool:
        for model in MODELS:
            results: dict[str, list[tuple[float, float]]] = {}
            print(f"\n{model:20} fresh seed of the chosen  the search says  against tpe, points")
            for name in dict.fromkeys(["tpe", *options.samplers]):
                jobs = [
                    (recorded, model, name, number, options.trainings)
                    for number in range(options.searches)
                ]
                results[name] = pool.map(search, jobs, chunksize=1)
            of_tpe = [100 * fresh for fresh, _ in results["tpe"]]
            for name, of in results.items():
                fresh, says = ([100 * pair[at] for pair in of] for at in (0, 1))
                mean, half = difference(fresh, [0.0] * len(fresh))
                gap, gap_half = difference(fresh, of_tpe)
                print(
                    f"{name:20} {mean:.3f} ± {half:.3f} %         {statistics.fmean(says):.3f} %  "
                    f"       {gap:+.3f} ± {gap_half:.3f}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":
    run_command(main)
