"""Kills a search fifty times at random moments and checks after each that no trial is lost.

    make soak                                             50 kills, 10 to 20 minutes on two cores
    python tests/soak.py --kills 5                        a look, about a minute
    python tests/soak.py --folder soak --minutes 5        stop after 5 minutes; again to go on

A worker, the parent or all processes are killed with SIGKILL, a drawn time after a trial has
begun; then the same command is given again. After each kill: the file is whole, trials that had
finished are the same to the last byte of their record, no process of the killed is left, no lock is
held. Each cut trial must go on under its number with its parameters, and in the end the study must
hold exactly the asked number of trials, numbered from 0, all finished, none failed, each with a
curve without gaps, and nothing left over. Ends with exit code 1 and the broken promise at the first
that is broken.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import random
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from optuna.trial import TrialState

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):  # run as a script: Python put tests/ on the path, not its parent
    sys.path[0] = str(ROOT)

from tests.faults.processes import (  # noqa: E402
    check_done,
    check_sound,
    check_unlocked,
    cut_trials,
    finish,
    finished_records,
    kill_group,
    kill_parent,
    process_of,
    start,
    started,
    trials,
    wait_for,
    workers,
)
from tests.helpers.data.idx_files import write_idx  # noqa: E402

VICTIMS = ("worker", "parent", "all")
LATEST = 5.0  # seconds after a trial began at which the last kill falls
STEP = 10  # a search that ends before the kills do is asked for so many trials more
RETRY_SECONDS = 60.0  # a worker's cut trial must go on within


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One kill and what it did."""

    number: int  # from 1
    victim: str
    moment: float  # seconds after a trial had begun
    finished: int  # trials at that time
    cut: list[int]  # numbers of the trials that were running


def parse() -> argparse.Namespace:
    """The command line as a namespace."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=50, help="default: %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of victims and moments; default: 0")
    parser.add_argument("--minutes", type=float, default=15, help="no kill after; default: 15")
    parser.add_argument("--folder", type=Path, help="kept, to go on in; default: a temporary one")
    return parser.parse_args()


class Soak:
    """A search that is killed again and again.

    Args:
        folder: Holds the study, and the kills that were made in ``kills.jsonl``.
        seed: Of victims and moments.
    """

    def __init__(self, folder: Path, seed: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._database = folder / "study.db"
        self._journal = folder / "kills.jsonl"
        self._seed = seed
        self.kills: list[Kill] = []
        if self._journal.exists():
            lines = self._journal.read_text().splitlines()
            self.kills = [Kill(**json.loads(line)) for line in lines]
        with np.load(ROOT / "tests/data/mnist_1200.npz") as arrays:
            write_idx(folder / "train-images-idx3-ubyte", arrays["images"])
            write_idx(folder / "train-labels-idx1-ubyte", arrays["labels"])
        self._command = [
            *(
                sys.executable,
                str(ROOT / "search/run.py"),
                "--data",
                str(folder),
                "--device",
                "cpu",
            ),
            *("--storage", str(self._database), "--reports", str(folder / "reports")),
            *("--epochs", "6", "--workers", "2", "--seed", str(seed)),
        ]
        self._kept = finished_records(self._database)
        self._params: dict[int, dict[str, Any]] = {}  # of cut trials
        self._target = max(STEP, len(self._kept))
        self._process: subprocess.Popen[str] | None = None

    def kill(self) -> Kill:
        """Kill once, and check what must hold then."""
        number = len(self.kills) + 1
        drawn = random.Random(self._seed * 1_000_003 + number)
        victim, moment = drawn.choice(VICTIMS), drawn.uniform(0, LATEST)
        process = self._begun()
        time.sleep(moment)
        if process.poll() is not None:  # it ended just now: one that is asked for more
            process = self._begun()
        cut = self._strike(process, victim, drawn)
        check_sound(self._database)
        self._check_kept()
        for trial in trials(self._database):
            if trial.number in cut:
                known = self._params.setdefault(trial.number, trial.params)
                assert trial.params == known, f"trial {trial.number} has other parameters"
        kill = Kill(
            number=number,
            victim=victim,
            moment=round(moment, 2),
            finished=len(self._kept),
            cut=cut,
        )
        self.kills.append(kill)
        with self._journal.open("a") as file:
            file.write(json.dumps(dataclasses.asdict(kill)) + "\n")
        return kill

    def _begun(self) -> subprocess.Popen[str]:
        """The running search, once one more trial has begun in it."""
        before = started(self._database)
        while True:
            if self._process is None:
                self._process = start(self._command, "--trials", str(self._target))
            try:
                wait_for(lambda: started(self._database) > before, self._process)
                return self._process
            except AssertionError:
                if self._process.poll() != 0:
                    raise
                check_done(self._database, self._target)
                self._target += STEP
                self._process = None

    def _strike(
        self, process: subprocess.Popen[str], victim: str, drawn: random.Random
    ) -> list[int]:
        living = workers(process)
        if victim == "worker" and living:
            chosen = drawn.choice(living)
            chosen.kill()
            cut = cut_trials(self._database, [chosen.pid])
            wait_for(lambda: not self._is_at(cut, chosen.pid), process, RETRY_SECONDS)
            return cut
        if victim == "parent":
            kill_parent(process)  # its workers notice, and end
        else:
            kill_group(process)
            _, alive = psutil.wait_procs(living, timeout=10)
            assert alive == [], "orphans"
        cut = [t.number for t in trials(self._database) if t.state == TrialState.RUNNING]
        check_unlocked(self._database)
        self._process = None
        return cut

    def _is_at(self, numbers: list[int], process: int) -> bool:
        """Whether one of some trials still stands as trained by a process."""
        return any(
            trial.number in numbers
            and not trial.state.is_finished()
            and process_of(trial) == process
            for trial in trials(self._database)
        )

    def _check_kept(self) -> None:
        now = finished_records(self._database)
        for number, record in self._kept.items():
            assert now.get(number) == record, f"the record of trial {number} has changed"
        self._kept = now

    def complete(self) -> tuple[int, int]:
        """Let the search end, check the whole; returns how many trials finished and went on."""
        process = self._process or start(self._command, "--trials", str(self._target))
        self._process = None
        code, _, errors = finish(process, timeout=600)
        assert code == 0, errors
        check_done(self._database, self._target)
        self._check_kept()
        found = trials(self._database)
        for number, params in self._params.items():
            assert found[number].params == params, f"trial {number} has other parameters"
        return self._target, sum("resumed_after_epoch" in trial.user_attrs for trial in found)

    def stop(self) -> None:
        """End what still runs."""
        if self._process and self._process.poll() is None:
            kill_group(self._process)


def table(kills: list[Kill]) -> str:
    """The kills by victim, in Markdown."""
    lines = [
        "| killed | kills | moments after a trial began | trials cut | went on | lost |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for victim in (*VICTIMS, "together"):
        chosen = [kill for kill in kills if victim in (kill.victim, "together")]
        if chosen:
            moments = [kill.moment for kill in chosen]
            cut = sum(len(kill.cut) for kill in chosen)
            lines.append(
                f"| {victim} | {len(chosen)} | {min(moments):.2f}–{max(moments):.2f} s "
                f"| {cut} | {cut} | 0 |"
            )
    return "\n".join(lines)


def main() -> int:
    """Kill, check, complete, print; returns the exit code."""
    options = parse()
    begun = time.monotonic()
    with tempfile.TemporaryDirectory() as temporary:
        soak = Soak(options.folder or Path(temporary), options.seed)
        try:
            while len(soak.kills) < options.kills:
                if time.monotonic() - begun > 60 * options.minutes:
                    break
                kill = soak.kill()
                cut = ", ".join(map(str, kill.cut)) or "none"
                print(
                    f"{kill.number}: {kill.victim} after {kill.moment:.2f} s, "
                    f"{kill.finished} finished, cut: {cut}",
                    flush=True,
                )
            finished, resumed = soak.complete()
        finally:
            soak.stop()
    print(f"\n{table(soak.kills)}")
    seconds = time.monotonic() - begun
    print(
        f"\n{finished} of {finished} trials finished under their numbers, 0 failed, 0 lost; "
        f"{resumed} of them went on from a finished epoch; {seconds / 60:.1f} min"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
