"""Studies to report on: real candidates of the space with invented, plausible results."""

from __future__ import annotations

import datetime as dt
import math
import random
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.storages import RDBStorage
from optuna.trial import FrozenTrial, TrialState

from search.architecture.candidate import LayeredCandidate
from search.architecture.counting import count_macs, count_parameters, peak_activation_bytes
from search.architecture.references import REFERENCES
from search.study.storages.stored import StoredStudy
from tests.helpers.draws import draw

SETTINGS: dict[str, Any] = {
    "max_params": 20_000,
    "max_macs": None,
    "epochs": 20,
    "seed": 0,
    "sampler": "tpe",
    "pruner": "median",
    "target": 0.994,
    "dataset": {
        "name": "MNIST",
        "fingerprint": "abc",
        "train_images": 50_000,
        "validation_images": 10_000,
    },
}
START = dt.datetime(2026, 11, 21, 9, 0)


def study_of(
    trials: list[FrozenTrial],
    *,
    storage: str | None = None,
    name: str = "cnn-search",
    settings: dict[str, Any] | None = SETTINGS,
    direction: Literal["maximize", "minimize"] = "maximize",
) -> StoredStudy:
    """A study that holds these trials; in memory, where no other storage is named."""
    place = optuna.storages.InMemoryStorage() if storage is None else RDBStorage(storage)
    optuna.create_study(study_name=name, storage=place, direction=direction)
    study = StoredStudy(name, place)
    if settings is not None:
        study.set_user_attr("settings", settings)
    study.add_trials(trials)
    return study


def sqlite_study(path: Path, trials: list[FrozenTrial], *, name: str = "cnn-search") -> None:
    """The same in a real SQLite file."""
    study_of(trials, storage=f"sqlite:///{path}", name=name)


def complete(
    *,
    accuracy: float = 0.99,
    parameters: int | None = 10_000,
    epochs: int = 20,
    candidate: LayeredCandidate | None = None,
    params: dict[str, Any] | None = None,
    distributions: dict[str, Any] | None = None,
    **attrs: Any,
) -> FrozenTrial:
    """A complete trial; an attribute given as None is left out."""
    recorded = {"parameters": parameters, "epochs": epochs, "seconds": 20.0, **attrs}
    if candidate is not None:
        recorded["candidate"] = candidate.to_json()
        recorded["architecture"] = candidate.one_line()
    return optuna.trial.create_trial(
        state=TrialState.COMPLETE,
        value=accuracy,
        params=params or {},
        distributions=distributions or {},
        user_attrs={key: value for key, value in recorded.items() if value is not None},
        intermediate_values=curve(accuracy, epochs),
    )


def pruned(*, reason: str, last: float | None = 0.97, epoch: int = 6, **attrs: Any) -> FrozenTrial:
    """A pruned trial; without a last value it was pruned before any training."""
    return optuna.trial.create_trial(
        state=TrialState.PRUNED,
        value=last,
        user_attrs={"reason": reason, **attrs},
        intermediate_values={} if last is None else curve(last, epoch),
    )


def failed(**attrs: Any) -> FrozenTrial:
    """A failed trial."""
    return optuna.trial.create_trial(state=TrialState.FAIL, user_attrs=attrs)


def curve(final: float, epochs: int) -> dict[int, float]:
    """A learning curve that ends exactly at ``final``."""
    return {
        epoch: final - (0.06 * math.exp(-epoch / 3.0) - 0.06 * math.exp(-epochs / 3.0))
        for epoch in range(1, epochs + 1)
    }


def realistic(count: int, *, seed: int = 0, references: bool = True) -> list[FrozenTrial]:
    """As many trials as asked for, with every outcome among them, drawn from the real space."""
    rng = random.Random(seed)
    source = optuna.create_study(
        direction="maximize", sampler=optuna.samplers.RandomSampler(seed=seed)
    )
    finished: list[FrozenTrial] = []
    clock = START
    if references:
        for key in ("narrow-8k", "valid-conv-18k", "wide-vgg"):
            trial, clock = _reference(key, rng, clock)
            finished.append(trial)
    while len(finished) < count:
        asked = source.ask()
        candidate = draw(asked)
        simulated, clock = _simulated(asked, candidate, rng, clock, len(finished) / count)
        if simulated is not None:
            finished.append(simulated)
    return finished[:count]


def _simulated(
    asked: optuna.Trial,
    candidate: LayeredCandidate,
    rng: random.Random,
    clock: dt.datetime,
    progress: float,
) -> tuple[FrozenTrial | None, dt.datetime]:
    parameters = count_parameters(candidate)
    rate = candidate.recipe.learning_rate
    error = 0.0045 + 0.006 * (1 - progress) * rng.random() + 6 / parameters
    error += 0.0015 * math.log(rate / 0.1) ** 2 + abs(rng.gauss(0, 0.0008))
    accuracy = round(1 - error, 4)
    if parameters > 20_000:
        if rng.random() < 0.5 + progress / 2:
            return None, clock
        reason = f"over budget: {parameters:,} parameters > 20,000"
        attrs: dict[str, Any] = {"over_budget": True, "reason": reason}
        return _trial(asked, candidate, TrialState.PRUNED, None, {}, attrs, clock, 0.01)
    if rng.random() < 0.02:
        attrs = {"reason": "failed: loss is not finite at epoch 2"}
        values = {1: 0.9}
        return _trial(asked, candidate, TrialState.FAIL, None, values, attrs, clock, 12.0)
    seconds = 20 * (1.5 + count_macs(candidate) / 5e5) * rng.uniform(0.9, 1.1)
    whole = curve(accuracy, 20)
    if progress > 0.1 and accuracy < 0.986 + 0.006 * progress and rng.random() < 0.8:
        epoch = rng.choice([6, 6, 7, 9, 12])
        values = {step: value for step, value in whole.items() if step <= epoch}
        attrs = {"reason": f"median pruner at epoch {epoch}: {values[epoch]:.4f}"}
        return _trial(
            asked,
            candidate,
            TrialState.PRUNED,
            values[epoch],
            values,
            attrs,
            clock,
            seconds * epoch / 20,
        )
    return _trial(asked, candidate, TrialState.COMPLETE, accuracy, whole, {}, clock, seconds)


def _reference(key: str, rng: random.Random, clock: dt.datetime) -> tuple[FrozenTrial, dt.datetime]:
    candidate = REFERENCES[key].candidate
    label = {"label": f"reference: {key}"}
    asked = optuna.trial.FixedTrial({})
    if count_parameters(candidate) > 20_000:
        count = count_parameters(candidate)
        attrs = {
            **label,
            "over_budget": True,
            "reason": f"over budget: {count:,} parameters > 20,000",
        }
        return _trial(asked, candidate, TrialState.PRUNED, None, {}, attrs, clock, 0.01)
    accuracy = round(0.9885 + rng.random() * 0.003, 4)
    epochs = candidate.recipe.epochs or 20
    values = curve(accuracy, epochs)
    return _trial(asked, candidate, TrialState.COMPLETE, accuracy, values, label, clock, 180.0)


def _trial(
    asked: optuna.Trial | optuna.trial.FixedTrial,
    candidate: LayeredCandidate,
    state: TrialState,
    value: float | None,
    values: dict[int, float],
    attrs: dict[str, Any],
    clock: dt.datetime,
    seconds: float,
) -> tuple[FrozenTrial, dt.datetime]:
    attrs = {
        "architecture": candidate.one_line(),
        "candidate": candidate.to_json(),
        "parameters": count_parameters(candidate),
        "macs": count_macs(candidate),
        "peak_activation_bytes": peak_activation_bytes(candidate),
        "worker": f"worker {int(seconds * 10) % 2}",
        **attrs,
    }
    if values:
        best = max(values, key=lambda epoch: values[epoch])
        attrs |= {
            "epochs": len(values),
            "seconds": seconds,
            "device": "cpu",
            "best_epoch": best,
            "best_accuracy": values[best],
            "validation_loss": 3.2 * (1 - values[len(values)]),
            "seed": 1234,
        }
    trial = optuna.trial.create_trial(
        state=state,
        value=value,
        params=dict(asked.params),
        distributions=dict(asked.distributions),
        user_attrs=attrs,
        intermediate_values=values,
    )
    end = clock + dt.timedelta(seconds=seconds / 2)
    trial._datetime_start = clock  # create_trial stamps the present
    trial.datetime_complete = end
    return trial, end
