"""A study whose trials draw one number, to try how trials are handed out."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import optuna
from optuna.trial import FrozenTrial

from search.study.judge import Task
from search.study.storages.opening import RECORDED, create_study
from search.training.epoch import Epoch


class Judge:
    """Draws one number; the label of a queued trial says what becomes of it."""

    def propose(self, trial: optuna.Trial) -> Task:
        x = trial.suggest_float("x", 0, 1)
        if trial.user_attrs.get("label") == "bad":
            raise ValueError("no such candidate")
        if trial.user_attrs.get("label") == "large":
            raise optuna.TrialPruned
        return Task(number=trial.number, seed=0, candidate=json.dumps({"x": x}))

    def report(self, trial: optuna.Trial, curve: Sequence[Epoch]) -> None: ...

    def record(self, trial: optuna.Trial, curve: Sequence[Epoch]) -> None: ...


def new_study(folder: Path) -> str:
    """An empty study's file."""
    study = create_study(str(folder / "a.db"), "s")
    study.set_user_attr("settings", dict.fromkeys(RECORDED, {}))
    return str(folder / "a.db")


def queue(path: str, x: float = 0.25, label: str = "mine") -> None:
    create_study(path, "s").enqueue_trial({"x": x}, user_attrs={"label": label})


def trials(path: str) -> list[FrozenTrial]:
    """As they are in the file."""
    return create_study(path, "s").get_trials()
