"""All that is claimed of a GPU, run on one: a table in a few minutes.

    python benchmarks/gpu_check.py                    writes gpu_check.md
    python benchmarks/gpu_check.py --data DIR         where MNIST's files cannot be fetched
    python benchmarks/gpu_check.py --device cpu       a rehearsal, which measures no GPU

In turn: the tests marked ``gpu`` (where pytest is installed); a search of 12 trials that is killed
after its first epochs and gone on with by the same command; finalists, their seeds trained as one
network and then one by one; an export; and for one network the trial-epochs an hour, the device's
memory, the kernels of a step and the share of time in which none runs, beside the plain idiom
(plain_idiom.py) on the same device. A step that fails has its last line in the table, and the exit
code is 1; without a CUDA device it is 2.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):
    sys.path[0] = str(ROOT)

import torch

from benchmarks import plain_idiom
from search.architecture.references import REFERENCES
from search.common.errors import UserError
from search.common.output import say
from search.common.text import counted
from search.console.arguments import Parser, positive, run_command
from search.data.dataset import DataSource, load_training
from search.data.images import Images, load_images
from search.data.sources import locate
from search.study.storages.opening import open_study
from search.training.arithmetic import Arithmetic
from search.training.hardware import device_kind, use_bfloat16
from search.training.loop import TrainingRun, train_stacked

TRIALS = 12
EPOCHS = 5  # of a trial
SEEDS = 10  # as one network
STEPS = 20  # that are looked at kernel by kernel
REFERENCE = REFERENCES["valid-conv-18k"].candidate
LONGEST = 400.0  # seconds of one command
Row = tuple[str, str]


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = Parser(prog="gpu_check.py", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    add = parser.add_argument
    add("--data", help="a directory with MNIST's files; default: they are fetched")
    add("--device", default="cuda", help="default: cuda")
    add("--images", type=positive, default=12_000, help="of a measured epoch (default: 12000)")
    add("--out", type=Path, default=Path("gpu_check.md"), help="the table (default: gpu_check.md)")
    return parser.parse_args(arguments)


class Check:
    """The steps, on one device and in a folder of their own."""

    def __init__(self, device: str, data: str | None, images: int, folder: Path) -> None:
        self.device, self.images, self.folder = device, images, folder
        self.data = [] if data is None else ["--data", data]
        self.source: DataSource = locate(data)
        self.storage = str(folder / "study.db")

    def command(self, name: str, *more: str, device: bool = True) -> list[str]:
        """A user's command on the study of this check."""
        where = ["--storage", self.storage, *self.data]
        where += ["--device", self.device, "--reports", str(self.folder)] if device else []
        return [sys.executable, str(ROOT / "search" / name), *where, *more]

    def run(self, command: list[str]) -> float:
        """Run it; returns its seconds.

        Raises:
            RuntimeError: If it fails, with its last line.
        """
        started = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST)
        if done.returncode:
            last = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1]
            raise RuntimeError(f"{Path(command[1]).name} ended with {done.returncode}: {last}")
        return time.perf_counter() - started

    def tests(self) -> Iterator[Row]:
        """The tests marked gpu."""
        if importlib.util.find_spec("pytest") is None:
            yield "tests marked gpu", "not run: pytest is not installed (requirements-dev.txt)"
            return
        command = [sys.executable, "-m", "pytest", str(ROOT / "tests/training"), "-m", "gpu"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=LONGEST, cwd=ROOT)
        if done.returncode not in (0, 5):  # 5: none was chosen
            raise RuntimeError(done.stdout.strip().splitlines()[-1])
        yield "tests marked gpu", done.stdout.strip().splitlines()[-1].strip("= ")

    def search(self) -> Iterator[Row]:
        """A search that is killed and goes on."""
        command = self.command("run.py", "--trials", str(TRIALS), "--epochs", str(EPOCHS))
        command += ["--pruner", "hyperband"]  # the median rule begins after ten trials
        started = time.perf_counter()
        with (self.folder / "killed.log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
            while not self._any_epoch():
                if process.poll() is not None or time.perf_counter() - started > LONGEST:
                    process.kill()
                    raise RuntimeError((self.folder / "killed.log").read_text()[-200:])
                time.sleep(0.05)
            killed_after = time.perf_counter() - started
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
        seconds = self.run(command)
        trials = open_study(self.storage).get_trials(deepcopy=False)
        states = [trial.state.name.lower() for trial in trials]
        if [trial.number for trial in trials] != list(range(TRIALS)) or "running" in states:
            raise RuntimeError(f"its trials are not whole: {states}")
        resumed = sum("resumed_after_epoch" in trial.user_attrs for trial in trials)
        ends = ", ".join(f"{states.count(kind)} {kind}" for kind in dict.fromkeys(states))
        yield f"search of {TRIALS} trials, {EPOCHS} epochs", f"{ends}; best {self._best():.2f} %"
        yield (
            f"killed after {killed_after:.0f} s, gone on with",
            f"{seconds:.0f} s; {counted(resumed, 'trial')} from where it was",
        )

    def _any_epoch(self) -> bool:
        try:
            trials = open_study(self.storage).get_trials(deepcopy=False)
        except UserError:
            return False
        return any(trial.intermediate_values for trial in trials)

    def _best(self) -> float:
        return 100 * (open_study(self.storage).best_value or 0.0)

    def finalists(self) -> Iterator[Row]:
        """Seeds as one network, then as many more one by one."""
        few = ("--top", "1", "--shortlist", "0", "--no-references")
        stacked = self.run(self.command("finalists.py", *few, "--seeds", "5", "--stack", "5"))
        alone = self.run(self.command("finalists.py", *few, "--seeds", "10", "--stack", "1"))
        trials = open_study(self.storage, "cnn-search finalists").get_trials(deepcopy=False)
        halves = (trials[:5], trials[5:])
        means = [100 * statistics.mean(trial.value or 0.0 for trial in half) for half in halves]
        yield "5 seeds of a finalist as one network", f"{stacked:.0f} s; mean {means[0]:.2f} %"
        yield "5 more one by one", f"{alone:.0f} s; mean {means[1]:.2f} %"

    def export(self) -> Iterator[Row]:
        """The winner leaves the house."""
        output = self.folder / "exported"
        seconds = self.run(self.command("export.py", "--output", str(output), device=False))
        yield "export", f"{seconds:.0f} s; {counted(len(list(output.iterdir())), 'file')}"

    def throughput(self) -> Iterator[Row]:
        """Trial-epochs an hour of one process, of the whole of MNIST."""
        training, validation = self._parts()
        low = Arithmetic(bfloat16=use_bfloat16("auto", self.device))
        plain = self._plain_seconds()
        torch.set_num_threads(1)  # as a worker
        found = {
            "ours, one network": self._seconds(training, validation, low, 1),
            f"ours, {SEEDS} seeds as one network": self._seconds(
                training, validation, replace(low, stacked=True), SEEDS
            ),
        }
        if self.device != "cpu":
            compiled = replace(low, compile=True)
            found["ours, compiled"] = self._seconds(training, validation, compiled, 1)
        yield "trial-epochs an hour, plain idiom", f"{3600 / plain:,.0f}"
        for name, seconds in found.items():
            yield f"trial-epochs an hour, {name}", f"{3600 / seconds:,.0f} ({plain / seconds:.1f}×)"

    def _parts(self) -> tuple[Images, Images]:
        whole = load_images(self.source, self.device)
        counts = (self.images * 5 // 6, self.images // 6)
        first, second = (
            replace(part, pixels=part.pixels[:count], labels=part.labels[:count])
            for part, count in zip(whole, counts, strict=True)
        )
        return first, second

    def _plain_seconds(self) -> float:
        import numpy as np

        split = load_training(self.source)
        images, labels = (
            np.concatenate([getattr(part, name) for part in split]) for name in ("images", "labels")
        )
        count, train = min(self.images, len(images)), min(self.images, len(images)) * 5 // 6
        epochs = plain_idiom.train(
            REFERENCE,
            plain_idiom.as_torchvision(self.folder / "plain", images, labels),
            epochs=2,
            seed=0,
            train_images=slice(0, train),
            validation_images=slice(train, count),
            device=self.device,
        )
        return epochs[-1].seconds * 60_000 / count

    def _runs(
        self, training: Images, validation: Images | None, arithmetic: Arithmetic, seeds: int
    ) -> list[TrainingRun]:
        return [
            TrainingRun(
                *(REFERENCE.build, REFERENCE.recipe, training, validation),
                epochs=3,
                seed=seed,
                arithmetic=arithmetic,
            )
            for seed in range(seeds)
        ]

    def _seconds(
        self, training: Images, validation: Images, arithmetic: Arithmetic, seeds: int
    ) -> float:
        """Of an epoch of one network, after one that is not counted."""
        runs = self._runs(training, validation, arithmetic, seeds)
        if arithmetic.stacked:
            list(train_stacked(runs))
        else:
            list(runs[0].epochs())
        seconds = statistics.mean(epoch.seconds for epoch in runs[0].curve[1:])
        return seconds * 60_000 / (len(training) + len(validation))

    def kernels(self) -> Iterator[Row]:
        """What a step asks of the device, for one network and for several as one."""
        from torch.profiler import ProfilerActivity, profile

        on_gpu = self.device != "cpu"
        activity = ProfilerActivity.CUDA if on_gpu else ProfilerActivity.CPU
        whole, _ = self._parts()
        steps = min(STEPS, len(whole) // REFERENCE.recipe.batch_size)
        size = steps * REFERENCE.recipe.batch_size
        training = replace(whole, pixels=whole.pixels[:size], labels=whole.labels[:size])
        low = Arithmetic(bfloat16=use_bfloat16("auto", self.device), fused=False)
        for seeds in (1, SEEDS):
            runs = self._runs(training, None, replace(low, stacked=seeds > 1), seeds)
            epochs = iter(train_stacked(runs) if seeds > 1 else runs[0].epochs())
            next(epochs)
            if on_gpu:
                torch.cuda.synchronize()
                torch.cuda.reset_peak_memory_stats()
            started = time.perf_counter()
            with profile(activities=[activity]) as recorded:
                next(epochs)
                if on_gpu:
                    torch.cuda.synchronize()
            seconds = time.perf_counter() - started
            events = [
                event
                for event in recorded.events()
                if (event.device_type.name == "CUDA" if on_gpu else event.cpu_parent is None)
            ]
            of = "one network" if seeds == 1 else f"{seeds} seeds as one network"
            yield f"kernels a step, {of}", f"{len(events) / steps:,.0f}"
            if on_gpu:
                busy = sum(event.device_time_total for event in events) / 1e6
                yield f"time with no kernel running, {of}", f"{max(0.0, 1 - busy / seconds):.0%}"
                memory = torch.cuda.max_memory_allocated() / 2**20
                yield f"device memory, {of}", f"{memory:,.0f} MiB"


def main(arguments: list[str] | None = None) -> int:
    """Run all and write the table; returns the exit code."""
    options = parse(arguments)
    if options.device != "cpu" and not torch.cuda.is_available():
        raise UserError("there is no CUDA device", "Rehearse with --device cpu")
    started, failed = time.perf_counter(), False
    rows: list[Row] = [
        ("device", device_kind(options.device)),
        ("torch", torch.__version__),
    ]
    with tempfile.TemporaryDirectory() as name:
        check = Check(options.device, options.data, options.images, Path(name))
        steps: list[Callable[[], Iterator[Row]]] = [
            *(check.tests, check.search, check.finalists, check.export),
            *(check.throughput, check.kernels),
        ]
        for step in steps:
            try:
                for row in step():
                    rows.append(row)
                    say(f"{row[0]}: {row[1]}")
            except (RuntimeError, OSError, subprocess.TimeoutExpired) as error:
                failed = True
                rows.append((step.__name__, f"failed: {error}"))
                say(f"{step.__name__}: failed: {error}")
    rows.append(("all of it", f"{(time.perf_counter() - started) / 60:.1f} min"))
    if options.device == "cpu":
        rows.insert(0, ("rehearsal", "on a CPU: no figure of a GPU"))
    table = [f"| {what} | {figure} |" for what, figure in rows]
    options.out.write_text("\n".join(["| check | result |", "|---|---|", *table]) + "\n")
    say(f"wrote {options.out}")
    return int(failed)


if __name__ == "__main__":
    run_command(main)
