"""Compares samplers on searches that are simulated from recorded trainings: minutes, not hours.

    python benchmarks/replay.py --recorded benchmarks/recorded.jsonl --searches 24

The recorded trainings (``record.py``: random candidates, two seeds each) are fitted by a Gaussian
process of the logarithm of the validation loss, on random Fourier features (Rahimi and Recht 2007);
the logarithm of the error is a line of it. Each search has a landscape of its own, drawn from the
posterior, and each training luck as large as the recorded seeds show in the better half. Prints
what a fresh seed of the chosen candidate has, the mean of all searches with its 95 % interval (t),
what the search itself says of it, and the difference to TPE. All samplers meet the same landscapes,
which may favour those that think in Gaussian processes: ``search_quality.py`` has the last word.
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
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from scipy import stats

from search.console.arguments import positive, run_command
from search.study.sampling.racing import RacingSampler, trained

FEATURES = 400
SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "random": lambda seed: RandomSampler(seed=seed),
    "tpe": lambda seed: TPESampler(seed=seed),
    "race 0, local 0": lambda seed: RacingSampler(seed=seed, race=0.0, local=0.0),
    "race 0.2, local 0": lambda seed: RacingSampler(seed=seed, race=0.2, local=0.0),
    "race 0.2, local 0.2": lambda seed: RacingSampler(seed=seed, race=0.2, local=0.2),
    "race 0.2, local 0.5": lambda seed: RacingSampler(seed=seed, race=0.2, local=0.5),
    "race 0.2, local 1": lambda seed: RacingSampler(seed=seed, race=0.2, local=1.0),
    "race 0.4, local 0.2": lambda seed: RacingSampler(seed=seed, race=0.4, local=0.2),
}


@dataclass(frozen=True, kw_only=True)
class Landscapes:
    """What the recorded trainings leave possible: Bayesian linear regression on the features."""

    space: Mapping[str, BaseDistribution]
    directions: np.ndarray  # [features, parameters]
    phases: np.ndarray  # [features]
    amplitude: float  # of the process, in logarithms of the loss
    mean: np.ndarray  # of the weights
    root: np.ndarray  # a square root of their covariance
    middle: float
    line: tuple[float, float]  # logarithm of the error: slope and value at the middle
    luck: float  # of a training, standard deviation of the logarithm of the error

    def features(self, points: np.ndarray) -> np.ndarray:
        """``[points, features]`` of points in the unit cube."""
        scale = self.amplitude * math.sqrt(2 / len(self.phases))
        return np.asarray(scale * np.cos(points @ self.directions.T + self.phases))

    def point(self, params: Mapping[str, Any]) -> np.ndarray:
        """Parameters as a point in the unit cube."""
        return np.array([_unit(params[name], kind) for name, kind in self.space.items()])


def fit(lines: Sequence[Mapping[str, Any]]) -> Landscapes:
    """Fit the recorded trainings; the length of the kernel is that of the highest evidence."""
    space = {name: json_to_distribution(text) for name, text in lines[0]["ranges"].items()}
    points = np.array([[_unit(x["params"][n], k) for n, k in space.items()] for x in lines])
    both = np.log([[line["loss"], 1 - line["accuracy"]] for line in lines])
    losses = both[:, 0]
    seeds: dict[int, list[int]] = {}
    for at, line in enumerate(lines):
        seeds.setdefault(line["candidate"], []).append(at)
    pairs = [both[at] for at in seeds.values() if len(at) > 1]
    better = sorted(pairs, key=lambda pair: float(pair[:, 0].mean()))[: len(pairs) // 2]
    luck, all_luck = (np.mean([np.cov(p.T) for p in of], axis=0) for of in (better, pairs))
    noise, middle = math.sqrt(all_luck[0, 0]), float(losses.mean())
    amplitude = math.sqrt(max(float(losses.var()) - noise**2, noise**2))
    means = np.array([pair.mean(axis=0) for pair in better])
    # Through the middle of the better half, with the slope of equal scales (reduced major axis).
    true = np.cov(means.T) - luck / 2
    slope = math.sqrt(max(true[1, 1], 1e-6) / max(true[0, 0], 1e-6))
    found = []
    for length in (0.5, 0.7, 1.0, 1.4, 2.0, 2.8, 4.0):
        draw = np.random.default_rng(0)
        landscapes = Landscapes(
            space=space,
            directions=draw.normal(size=(FEATURES, len(space))) / length,
            phases=draw.uniform(0, 2 * math.pi, FEATURES),
            amplitude=amplitude,
            mean=np.zeros(FEATURES),
            root=np.eye(FEATURES),
            middle=middle,
            line=(slope, float(means[:, 1].mean() + slope * (middle - means[:, 0].mean()))),
            luck=math.sqrt(luck[1, 1]),
        )
        seen = landscapes.features(points)
        precision = np.eye(FEATURES) + seen.T @ seen / noise**2
        lower = np.linalg.cholesky(precision)
        mean = np.linalg.solve(precision, seen.T @ (losses - middle) / noise**2)
        covariance = seen @ seen.T + noise**2 * np.eye(len(losses))
        evidence = stats.multivariate_normal(np.zeros(len(losses)), covariance).logpdf(
            losses - middle
        )
        fields = {**vars(landscapes), "mean": mean, "root": np.linalg.inv(lower).T}
        found.append((float(evidence), length, Landscapes(**fields)))
    _, length, best = max(found, key=lambda one: one[0])
    print(
        f"{len(seeds)} candidates; luck in the better half {best.luck:.3f} of the error, error as "
        f"loss to the power of {slope:.2f}; length {length} of a side"
    )
    return best


def search(job: tuple[Landscapes, str, int, int]) -> tuple[float, float]:
    """What a fresh seed of the chosen one has, and what the search says of it.

    Args:
        job: The landscapes, the sampler's name, the search's number, its trainings.
    """
    landscapes, name, number, trainings = job
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    draw = np.random.default_rng([number, 0])
    weights = landscapes.mean + landscapes.root @ draw.normal(size=FEATURES)
    luck = np.random.default_rng([number, 1])

    def error(params: Mapping[str, Any], lucky: float) -> float:
        at = float(landscapes.features(landscapes.point(params)[None])[0] @ weights)
        slope, middle = landscapes.line
        return math.exp(middle + slope * at + lucky)

    study = optuna.create_study(direction="maximize", sampler=SAMPLERS[name](number))
    for _ in range(trainings):
        trial = study.ask(dict(landscapes.space))
        study.tell(trial, 1 - error(trial.params, landscapes.luck * luck.normal()))
    chosen = max(
        trained(study.trials, study.direction), key=lambda one: (one.posterior.expected, one.scores)
    )
    # The mean of a log-normal error is above its median.
    fresh = error(chosen.first.params, landscapes.luck**2 / 2)
    return 1 - fresh, statistics.fmean(chosen.scores)


def _unit(value: Any, kind: Any) -> float:
    """A number's place in its range, from 0 to 1."""
    if kind.single():
        return 0.5
    low, high = (math.log(end) if kind.log else end for end in (kind.low, kind.high))
    return float(((math.log(value) if kind.log else value) - low) / (high - low))


def main() -> int:
    """Print the table; 0, as it ends with no other code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--recorded", type=Path, required=True, metavar="FILE")
    parser.add_argument("--searches", type=positive, default=100)
    parser.add_argument("--trainings", type=positive, default=50, help="of a search")
    options = parser.parse_args()
    lines = [json.loads(line) for line in options.recorded.read_text().splitlines()]
    landscapes = fit(lines)
    numbers = range(options.searches)
    results: dict[str, list[tuple[float, float]]] = {}
    with get_context("spawn").Pool() as pool:
        for name in SAMPLERS:
            jobs = [(landscapes, name, number, options.trainings) for number in numbers]
            results[name] = pool.map(search, jobs, chunksize=4)
    print(f"\n{'sampler':20} fresh seed of the chosen   the search says   against tpe, points")
    for name, of in results.items():
        fresh = [100 * pair[0] for pair in of]
        against = [a - 100 * b[0] for a, b in zip(fresh, results["tpe"], strict=True)]
        print(
            f"{name:20} {statistics.fmean(fresh):.3f} ± {_half(fresh):.3f} %          "
            f"{100 * statistics.fmean(pair[1] for pair in of):.3f} %          "
            f"{statistics.fmean(against):+.3f} ± {_half(against):.3f}"
        )
    return 0


def _half(values: Sequence[float]) -> float:
    if len(values) < 2:
        return math.nan
    reach = float(stats.t.ppf(0.975, len(values) - 1))
    return reach * statistics.stdev(values) / math.sqrt(len(values))


if __name__ == "__main__":
    run_command(main)
