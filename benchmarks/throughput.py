"""Trial-epochs per hour of this whole machine: the plain idiom against our trainer.

    python benchmarks/throughput.py                  # about 20 minutes on two cores
    python benchmarks/throughput.py --repeats 1 --images 6000

Both train the same candidates with the same recipes: two references, three candidates drawn from
the space, and two of examples/residual.py, which the compiled kernels do not know and which run as
torch runs them. Each is trained with and without augmentation. The plain idiom (plain_idiom.py)
runs as one process with PyTorch's default threads; ours as a search does, one process a core with
one thread each, side by side. The two are measured in turn, ``--repeats`` times. An epoch is
measured on a part of the images (a sixth of them for validation, as in a search) after one epoch
that is not counted, and scaled to the whole: 50,000 training and 10,000 validation images.

Then for each candidate: the shares of a step's stages, and the floor: three times its
multiply-accumulates over the measured rate of large bfloat16 matrix products, one a core.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

if __package__ in (None, ""):
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import optuna

from search.architecture.limits import Limits
from search.architecture.references import REFERENCES
from search.architecture.spaces import ROOT, Space, read_space
from search.candidates.candidate import AnyCandidate
from search.console.arguments import positive
from search.data.dataset import DataSource, load_training
from search.data.problem import MNIST_PROBLEM
from search.data.sources import locate
from search.training.arithmetic import Arithmetic
from search.training.hardware import use_bfloat16
from search.training.recipe import Augmentation, Recipe

WHOLE = 60_000  # images of a real epoch, validation included
MILD = Augmentation(rotation=8, shift=1.5, scale=0.08)


@dataclass(frozen=True, kw_only=True)
class Case:
    """A candidate that is measured."""

    name: str
    space: Space
    text: str  # by which the space gives it, in any process
    distorted: bool

    @property
    def candidate(self) -> AnyCandidate:
        """With its own distortion (a mild one where it has none), or without."""
        candidate: Any = self.space.read(self.text)
        own = candidate.recipe.augmentation
        augmentation = (own if own.active else MILD) if self.distorted else Augmentation()
        recipe: Recipe = replace(candidate.recipe, augmentation=augmentation)
        distorted: AnyCandidate = replace(candidate, recipe=recipe)
        return distorted

    @property
    def macs(self) -> int:
        """Multiply-accumulates of an image."""
        return self.space.costs(self.candidate).macs


def cases() -> list[Case]:
    """Two references, three random draws between 3,000 and 20,000 parameters, two residual ones."""
    default, residual = (
        Space(file=read_space(ROOT / name), problem=MNIST_PROBLEM, limits=Limits())
        for name in ("space.py", "examples/residual.py")
    )
    found = {
        key: (default, REFERENCES[key].candidate.to_json())
        for key in ("valid-conv-18k", "narrow-8k")
    }
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    while len(found) < 5:
        trial = study.ask()
        candidate = default.suggest(trial)
        if 3_000 <= default.costs(candidate).parameters <= 20_000:
            found[f"drawn-{len(found) - 1}"] = default, default.write(candidate, trial.params)
    for blocks, width in ((2, 16), (4, 20)):
        params = {"width": width, "blocks": blocks, "learning_rate": 3e-3}
        candidate = residual.suggest(optuna.trial.FixedTrial(params))
        found[f"residual-{blocks}x{width}"] = residual, residual.write(candidate, params)
    return [
        Case(name=f"{name}{suffix}", space=space, text=text, distorted=on)
        for name, (space, text) in found.items()
        for on, suffix in ((False, ""), (True, " +aug"))
    ]


def plain_seconds(case: Case, folder: Path, images: int) -> float:
    """Seconds of a whole epoch of the plain idiom; called in a fresh process."""
    from benchmarks import plain_idiom

    train = images * 5 // 6
    epochs = plain_idiom.train(
        case.candidate,
        folder,
        epochs=2,
        seed=0,
        train_images=slice(0, train),
        validation_images=slice(50_000, 50_000 + images - train),
    )
    return epochs[-1].seconds * WHOLE / images


def fast_seconds(case: Case, source: DataSource, images: int, start: Any, results: Any) -> None:
    """One of our workers: seconds of a whole epoch while the others run too."""
    began = time.perf_counter()
    import torch

    from search.common.allocator import keep_freed_memory
    from search.data.images import on_device
    from search.training.epoch import Epoch
    from search.training.loop import fit

    torch.set_num_threads(1)
    keep_freed_memory()
    train_count = images * 5 // 6
    cpu = torch.device("cpu")
    imported = time.perf_counter()
    train, validation = (
        on_device(part.images[:count], part.labels[:count], source.mean, source.std, cpu)
        for part, count in zip(
            load_training(source), (train_count, images - train_count), strict=True
        )
    )
    loaded = time.perf_counter()
    first_step: list[float] = []
    seconds: list[float] = []

    def on_epoch(epoch: Epoch) -> None:
        seconds.append(epoch.seconds)
        if epoch.number == 1:
            start.wait()  # all are warm; now side by side

    def should_stop() -> bool:
        if len(first_step) < 2:
            first_step.append(time.perf_counter())
        return False

    fit(
        case.candidate.build,
        case.candidate.recipe,
        train,
        validation,
        epochs=4,
        seed=0,
        arithmetic=Arithmetic(bfloat16=use_bfloat16("auto", "cpu")),
        on_epoch=on_epoch,
        should_stop=should_stop,
    )
    results.put(
        {
            "seconds": statistics.mean(seconds[1:]) * WHOLE / images,
            "import": imported - began,
            "load": loaded - imported,
            "first step": first_step[1] - loaded,
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        }
    )


def run_fast(case: Case, source: DataSource, images: int, workers: int) -> list[dict[str, float]]:
    """Our trainer on every core at once."""
    context = multiprocessing.get_context("spawn")
    start, results = context.Barrier(workers), context.Queue()
    processes = [
        context.Process(target=fast_seconds, args=(case, source, images, start, results))
        for _ in range(workers)
    ]
    for process in processes:
        process.start()
    found = [results.get() for _ in processes]
    for process in processes:
        process.join()
    return found


def run_plain(case: Case, folder: Path, images: int) -> float:
    """The plain idiom in a process of its own, with PyTorch's defaults."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(plain_seconds, (case, folder, images))


def stage_shares(case: Case, source: DataSource) -> dict[str, float]:
    """The share of each stage in 100 steps and a validation of a fifth as many images."""
    import torch
    from torch.profiler import ProfilerActivity, profile

    from search.common.allocator import keep_freed_memory
    from search.data.images import on_device
    from search.training.loop import fit

    torch.set_num_threads(1)
    keep_freed_memory()
    count = 100 * case.candidate.recipe.batch_size
    cpu = torch.device("cpu")
    train, validation = (
        on_device(part.images[:size], part.labels[:size], source.mean, source.std, cpu)
        for part, size in zip(load_training(source), (count, count // 5), strict=True)
    )

    def go() -> None:
        fit(
            case.candidate.build,
            case.candidate.recipe,
            train,
            validation,
            epochs=1,
            seed=0,
            arithmetic=Arithmetic(bfloat16=use_bfloat16("auto", "cpu")),
        )

    go()
    with profile(activities=[ProfilerActivity.CPU]) as recorded:
        go()
    stages = ("augmentation", "forward", "backward", "optimiser", "validation")
    totals = {
        event.key: event.cpu_time_total for event in recorded.key_averages() if event.key in stages
    }
    return {stage: totals.get(stage, 0.0) / sum(totals.values()) for stage in stages}


def matrix_rate() -> float:
    """Multiply-accumulates a second of one core in large bfloat16 matrix products."""
    import torch

    torch.set_num_threads(1)
    a = torch.randn(1024, 1024).bfloat16()
    best = math.inf
    for _ in range(20):
        started = time.perf_counter()
        torch.mm(a, a)
        best = min(best, time.perf_counter() - started)
    return 1024**3 / best


def floor_seconds(case: Case, rate: float, workers: int) -> float:
    """Machine seconds of an epoch of products alone: three passes to train, one to validate."""
    macs = case.macs * (3 * 50_000 + 10_000)
    return macs / rate / workers


def spread(values: list[float]) -> str:
    """Median with least and most."""
    return f"{statistics.median(values):5.2f} ({min(values):.2f}–{max(values):.2f})"


def measure(options: argparse.Namespace) -> Iterator[tuple[Case, list[float], list[float]]]:
    """Each case with the plain idiom's and our machine seconds per epoch, by repeat."""
    import numpy as np

    from benchmarks import plain_idiom

    source = locate()
    workers = os.cpu_count() or 1
    split = load_training(source)
    images, labels = (
        np.concatenate([getattr(part, name) for part in split]) for name in ("images", "labels")
    )
    with tempfile.TemporaryDirectory() as name:
        folder = plain_idiom.as_torchvision(Path(name), images, labels)
        for case in cases():
            plain, fast = [], []
            for _ in range(options.repeats):
                plain.append(run_plain(case, folder, options.images))
                found = run_fast(case, source, options.images, workers)
                fast.append(1 / sum(1 / worker["seconds"] for worker in found))
            yield case, plain, fast


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=positive, default=3)
    parser.add_argument("--images", type=positive, default=12_000, help="of a measured epoch")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    workers = os.cpu_count() or 1
    rate = matrix_rate()
    print(f"{workers} cores; bfloat16 products: {rate / 1e9:.0f} G multiply-accumulates/s a core")
    print("candidate              MACs   trial-epochs/hour      ratio, median      floor, share")
    print("                            plain idiom     ours     (least–most)     of our seconds")
    ratios = []
    for case, plain, fast in measure(options):
        pairs = [a / b for a, b in zip(plain, fast, strict=True)]
        ratios.append(statistics.median(pairs))
        floor = floor_seconds(case, rate, workers) / statistics.median(fast)
        print(
            f"{case.name:18} {case.macs / 1e6:6.2f} M "
            f"{3600 / statistics.median(plain):11.0f} {3600 / statistics.median(fast):8.0f}   "
            f"{spread(pairs):>18}  {floor:17.0%}",
            flush=True,
        )
    compiled, others = ratios[:10], ratios[10:]
    print(
        f"geometric mean of the ratios: {statistics.geometric_mean(compiled):.2f} of layers, "
        f"{statistics.geometric_mean(others):.2f} of the residual networks"
    )
    source = locate()
    print("\nshares of our seconds  augmentation  forward  backward  optimiser  validation")
    for case in cases():
        shares = stage_shares(case, source)
        print(f"{case.name:22} " + "  ".join(f"{share:8.0%}" for share in shares.values()))
    print("\na worker's start: seconds for imports, data, compiled passes and first step; memory")
    for worker in run_fast(cases()[0], source, 6_000, workers):
        print(
            f"imports {worker['import']:.1f}  data {worker['load']:.2f}  "
            f"first step {worker['first step']:.1f}  resident {worker['memory']:.0f} MiB"
        )


if __name__ == "__main__":
    main()
