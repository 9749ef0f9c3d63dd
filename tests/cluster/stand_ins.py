"""An objective that trains nothing: it draws a number, and that is the value."""

from __future__ import annotations

import json
from collections.abc import Sequence

import optuna
from optuna.pruners import NopPruner
from optuna.samplers import RandomSampler

from search.study.judge import Task
from search.study.shared import SharedStudy
from search.training.epoch import Epoch
from search.workers.messages import Begun, EpochDone, Stops, Tell, Trained


class StandIn:
    """The judge of such an objective."""

    def propose(self, trial: optuna.Trial) -> Task:
        trial.suggest_float("x", 0, 1)
        return Task(number=trial.number, seed=0, candidate=json.dumps(trial.params))

    def report(self, trial: optuna.Trial, curve: Sequence[Epoch]) -> None:
        trial.report(curve[-1].accuracy, curve[-1].number)

    def record(self, trial: optuna.Trial, curve: Sequence[Epoch]) -> None:
        trial.set_user_attr("epochs", len(curve))


def train(tasks: Sequence[Task], tell: Tell, stops: Stops) -> None:
    """A training of one epoch, over at once."""
    for task in tasks:
        number, value = task.number, json.loads(task.candidate)["x"]
        epoch = Epoch(number=1, accuracy=value, loss=0.0, training_loss=0.0, seconds=0.0)
        tell(Begun(number=number, facts={}, curve=()))
        tell(EpochDone(number=number, epoch=epoch, state=None))
        tell(Trained(number=number, value=value, facts={}, weights=None))


def share(storage: str) -> SharedStudy:
    """The study "s" as the process of one command has it."""
    return SharedStudy(storage, "s", RandomSampler(seed=0), NopPruner())
