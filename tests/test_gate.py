"""Limits are checked before a network is trained, and the sampler is told of them."""

from __future__ import annotations

import random
import statistics
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest
from optuna.trial import FixedTrial, TrialState

from objective import Limits
from search.architecture.candidate import LayeredCandidate
from search.architecture.counting import count_macs, count_parameters
from search.architecture.layers import Conv, Pool
from search.study.sampling.choice import make_sampler
from tests.helpers.draws import SPACE, draw, gate, simplest

ROOT = Path(__file__).parents[1]


def test_exactly_the_limit_is_allowed_and_one_more_is_over() -> None:
    candidate = draw(FixedTrial(simplest()))
    count = count_parameters(candidate)
    study = optuna.create_study()
    gate(study.ask(), candidate, Limits(max_params=count))
    trial = study.ask()
    with pytest.raises(optuna.TrialPruned):
        gate(trial, candidate, Limits(max_params=count - 1))
    assert trial.user_attrs["reason"] == f"over budget: {count:,} parameters > {count - 1:,}"
    assert trial.user_attrs["over_budget"] is True
    frozen = study.tell(trial, state=TrialState.PRUNED)
    assert max(frozen.constraints.values()) > 0


def test_the_other_limit_is_on_multiply_accumulates() -> None:
    candidate = draw(FixedTrial(simplest()))
    macs = count_macs(candidate)
    trial = optuna.create_study().ask()
    gate(trial, candidate, Limits(max_macs=macs))
    with pytest.raises(optuna.TrialPruned):
        gate(optuna.create_study().ask(), candidate, Limits(max_macs=macs - 1))


@pytest.mark.parametrize("limits", [Limits(max_ram=9_000), Limits(max_flash=1_000)])
def test_a_limit_of_memory_is_recorded_and_told_to_the_sampler(limits: Limits) -> None:
    trial = optuna.create_study().ask()
    large = LayeredCandidate(layers=(Conv(width=30), Conv(width=30)))
    with pytest.raises(optuna.TrialPruned):
        gate(trial, large, limits)
    field = "RAM" if limits.max_ram else "flash"
    assert f"bytes of {field} (int8) > " in trial.user_attrs["reason"]
    (over,) = (value for name, value in trial.study.trials[0].constraints.items() if field in name)
    assert over > 0
    gate(optuna.create_study().ask(), LayeredCandidate(layers=(Conv(width=4), Pool())), limits)


@pytest.mark.parametrize("sampler", ["tpe", "racing"])
@pytest.mark.parametrize("seed", [2, 3, 4])
def test_a_space_of_mostly_too_large_candidates_does_not_lock_a_search_in(
    seed: int, sampler: str
) -> None:
    """Without the constraint 82 to 100 of each search's hundred candidates are too large."""
    study = optuna.create_study(direction="maximize", sampler=make_sampler(sampler, seed))
    chance = random.Random(seed)
    for _ in range(100):
        trial = study.ask()
        widths = [trial.suggest_int(f"width_{i}", 8, 256, log=True) for i in range(5)]
        candidate = LayeredCandidate(layers=tuple(Conv(width=width) for width in widths))
        try:
            gate(trial, candidate, Limits())
        except optuna.TrialPruned:
            study.tell(trial, state=TrialState.PRUNED)
            continue
        fitted = 0.996 - 0.02 * (1000 / trial.user_attrs["parameters"]) ** 0.8
        study.tell(trial, fitted + chance.gauss(0, 0.0006))
    over = [trial.user_attrs["over_budget"] for trial in study.trials]
    assert sum(over) <= 60
    assert sum(over[-20:]) <= 12


@pytest.mark.processes
def test_an_over_budget_candidate_touches_neither_data_nor_torch_and_costs_little(
    tmp_path: Path,
) -> None:
    """In a fresh interpreter: the gate must not even import torch."""
    code = f"""
import sys, time
sys.path.insert(0, {str(ROOT)!r})
import optuna, objective
from search.architecture.spaces import read_space
from search.data.dataset import DataSource
from pathlib import Path
space = read_space(Path({str(SPACE.path)!r}))
source = DataSource(
    folder=Path("nowhere"), name="", description="", fingerprint="", mean=(0.5,), std=(1.0,)
)
limits = objective.Limits(max_params=2)
judge = objective.Objective(objective.Settings(source=source, space_file=space, limits=limits))
study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
for _ in range(5):
    try:
        judge(study.ask())
        raise SystemExit("trained")
    except optuna.TrialPruned:
        pass
loaded = [name for name in ("torch", "torchvision") if name in sys.modules]
print(loaded)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert ran.stdout.strip() == "[]", ran.stdout + ran.stderr


def test_the_gate_costs_under_five_milliseconds() -> None:
    study = optuna.create_study()
    times = []
    for _ in range(30):
        trial = study.ask()
        candidate = draw(trial)
        started = time.perf_counter()
        with pytest.raises(optuna.TrialPruned):
            gate(trial, candidate, Limits(max_params=1))
        times.append(time.perf_counter() - started)
    assert statistics.median(times) < 0.005
