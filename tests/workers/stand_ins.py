"""Objectives that look at no image, for tests of who trains what; each can be pickled."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna

from search.common.errors import InterruptedTraining
from search.data.dataset import DataSource
from search.study.judge import Task
from search.training.epoch import Epoch
from search.workers.messages import Begun, EpochDone, Stops, Tell, Trained


class Judge:
    """Draws one number; nothing is pruned, unless it is over ``most``."""

    def __init__(self, most: float = 1.0) -> None:
        self.most = most

    def propose(self, trial: optuna.Trial) -> Task:
        x = trial.suggest_float("x", 0, 1)
        if x > self.most:
            raise optuna.TrialPruned
        return Task(number=trial.number, seed=trial.number, candidate=json.dumps(x))

    def report(self, trial: optuna.Trial, curve: Sequence[Epoch]) -> None:
        trial.report(curve[-1].accuracy, curve[-1].number)
        if trial.should_prune():
            raise optuna.TrialPruned

    def record(self, trial: optuna.Trial, curve: Sequence[Epoch]) -> None:
        trial.set_user_attr("epochs", len(curve))


class Training:
    """Tells so many epochs, so many seconds apart; what a trial's state holds is gone on from.

    Args:
        folder: Where each trial that is begun leaves a line with its epochs before.
    """

    def __init__(self, folder: Path, epochs: int = 3, seconds: float = 0.0) -> None:
        self.folder, self.epochs, self.seconds = folder, epochs, seconds

    def __call__(self, tasks: Sequence[Task], tell: Tell, stops: Stops) -> None:
        for task in tasks:
            self.one(task, tell, stops)

    def one(self, task: Task, tell: Tell, stops: Stops) -> None:
        before = int(task.state or b"0")
        with (self.folder / f"{task.number}.txt").open("a") as file:
            file.write(f"{before}\n")
        done = [epoch(at + 1) for at in range(before)]
        tell(Begun(number=task.number, facts={"device": "none"}, curve=done))
        for number in range(before + 1, self.epochs + 1):
            self.train(task, number, stops)
            state = str(number).encode()
            tell(EpochDone(number=task.number, epoch=epoch(number), state=state))
        value = epoch(self.epochs).accuracy
        tell(Trained(number=task.number, value=value, facts={}, weights=b"weights"))

    def train(self, task: Task, number: int, stops: Stops) -> None:
        """One epoch."""
        until = time.monotonic() + self.seconds
        while time.monotonic() < until or stops(task.number):
            if stops(task.number):
                raise InterruptedTraining
            time.sleep(0.01)


class Deadly(Training):
    """Kills its worker in the second epoch, so many times for each trial."""

    times: int = 10**9

    def train(self, task: Task, number: int, stops: Stops) -> None:
        begun = (self.folder / f"{task.number}.txt").read_text().count("\n")
        if number == 2 and begun <= self.times:
            time.sleep(0.1)  # so that what was told before is on its way
            os.kill(os.getpid(), signal.SIGKILL)


class DeadlyOnce(Deadly):
    times = 1


def epoch(number: int) -> Epoch:
    return Epoch(number=number, accuracy=number / 100, loss=1.0, training_loss=1.0, seconds=0.5)


class Make:
    """Makes a training in its worker."""

    def __init__(self, kind: type[Training], *arguments: Any) -> None:
        self.kind, self.arguments = kind, arguments

    def __call__(self, worker: int, source: DataSource) -> Training:
        return self.kind(*self.arguments)


def broken(worker: int, source: DataSource) -> Training:
    raise ImportError("no such module")
