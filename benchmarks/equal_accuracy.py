"""Whether the fast trainer's accuracy equals the plain float32 idiom's.

    python benchmarks/equal_accuracy.py

The reference ``valid-conv-18k`` on the first 10,000 training images, 5 epochs, 5 seeds, both
trainers with the same recipe; validation accuracy after the last epoch on the 10,000 validation
images. Prints both means with 95 % intervals (t over seeds) and the difference's. About 4 minutes
on two cores.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import numpy as np
import torch
from scipy.stats import t as student

from benchmarks import plain_idiom
from search.architecture.building import build
from search.architecture.candidate import LayeredCandidate
from search.architecture.references import REFERENCES
from search.console.arguments import positive
from search.data.dataset import DataSource, load_training
from search.data.images import on_device
from search.data.sources import locate
from search.training.arithmetic import Arithmetic
from search.training.hardware import use_bfloat16
from search.training.loop import fit

TRAIN_IMAGES = 10_000


def interval(values: list[float]) -> tuple[float, float]:
    """Mean and half-width of its 95 % interval, in points."""
    half = student.ppf(0.975, len(values) - 1) * statistics.stdev(values) / len(values) ** 0.5
    return 100 * statistics.mean(values), 100 * half


def fast(source: DataSource, candidate: LayeredCandidate, seeds: range, epochs: int) -> list[float]:
    """Last accuracies of our trainer as a search runs it: one thread, the default arithmetic."""
    torch.set_num_threads(1)
    cpu = torch.device("cpu")
    train, validation = (
        on_device(
            part.images[:TRAIN_IMAGES], part.labels[:TRAIN_IMAGES], source.mean, source.std, cpu
        )
        for part in load_training(source)
    )
    return [
        fit(
            lambda: build(candidate),
            candidate.recipe,
            train,
            validation,
            epochs=epochs,
            seed=seed,
            arithmetic=Arithmetic(bfloat16=use_bfloat16("auto", "cpu")),
        )
        .epochs[-1]
        .accuracy
        for seed in seeds
    ]


def plain(
    source: DataSource, candidate: LayeredCandidate, seeds: range, epochs: int
) -> list[float]:
    """Last accuracies of the plain idiom with PyTorch's default threads."""
    torch.set_num_threads(os.cpu_count() or 1)
    train, validation = load_training(source)
    images = np.concatenate([train.images, validation.images])
    labels = np.concatenate([train.labels, validation.labels])
    with tempfile.TemporaryDirectory() as folder:
        root = plain_idiom.as_torchvision(Path(folder), images, labels)
        return [
            plain_idiom.train(
                candidate,
                root,
                epochs=epochs,
                seed=seed,
                train_images=slice(0, TRAIN_IMAGES),
                validation_images=slice(len(train), None),
            )[-1].accuracy
            for seed in seeds
        ]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=positive, default=5)
    parser.add_argument("--epochs", type=positive, default=5)
    options = parser.parse_args()
    source = locate()
    seeds = range(options.seeds)
    recipe = replace(REFERENCES["valid-conv-18k"].candidate.recipe, epochs=options.epochs)
    candidate = replace(REFERENCES["valid-conv-18k"].candidate, recipe=recipe)
    results = {
        "plain float32": plain(source, candidate, seeds, options.epochs),
        "fast": fast(source, candidate, seeds, options.epochs),
    }
    print(f"valid-conv-18k, {TRAIN_IMAGES:,} images, {options.epochs} epochs, {len(seeds)} seeds")
    for name, values in results.items():
        mean, half = interval(values)
        shown = " ".join(f"{100 * value:.2f}" for value in values)
        print(f"{name:14} {mean:6.2f} ± {half:.2f} %   ({shown})")
    a, b = results["fast"], results["plain float32"]
    difference = 100 * (statistics.mean(a) - statistics.mean(b))
    error = (statistics.variance(a) / len(a) + statistics.variance(b) / len(b)) ** 0.5
    half = 100 * student.ppf(0.975, len(a) + len(b) - 2) * error
    verdict = "not worse" if difference + half >= 0 else "WORSE"
    print(f"fast - plain   {difference:+6.2f} ± {half:.2f} points: {verdict} at 95 %")


if __name__ == "__main__":
    main()
