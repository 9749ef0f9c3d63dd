"""Samplers that depend on history alone, and pruners by name."""

from __future__ import annotations

import optuna
import pytest
from optuna.trial import TrialState

from search import run
from search.study.sampling.choice import SAMPLERS, make_pruner, make_sampler


def search(study: optuna.Study, trials: int) -> list[dict[str, float]]:
    for _ in range(trials):
        trial = study.ask()
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_int("y", 1, 9)
        study.tell(trial, -((x - 0.3) ** 2) - y)
    return [trial.params for trial in study.trials]


@pytest.mark.parametrize("name", SAMPLERS)
def test_an_interrupted_search_draws_what_an_uninterrupted_one_does(name: str) -> None:
    whole = search(optuna.create_study(sampler=make_sampler(name, 5), direction="maximize"), 30)
    parts = optuna.create_study(sampler=make_sampler(name, 5), direction="maximize")
    search(parts, 13)
    parts.sampler = make_sampler(name, 5)
    assert search(parts, 17) == whole
    other = search(optuna.create_study(sampler=make_sampler(name, 6), direction="maximize"), 30)
    assert other != whole
    if name != "racing":
        assert len({params["x"] for params in whole}) == 30, "no draw is repeated"


def test_all_but_random_learn() -> None:
    values = {}
    for name in SAMPLERS:
        study = optuna.create_study(sampler=make_sampler(name, 1), direction="maximize")
        search(study, 60)
        values[name] = sum(trial.value or 0.0 for trial in study.trials[-20:])
    assert min(values["tpe"], values["racing"]) > values["random"] + 20


def complete(study: optuna.Study, value: float, epochs: int = 20) -> None:
    trial = study.ask()
    for epoch in range(1, epochs + 1):
        trial.report(value, epoch)
    study.tell(trial, value)


@pytest.mark.parametrize(("epochs", "first"), [(20, 3), (6, 2), (2, 2)])
def test_the_median_pruner_waits_and_then_prunes_the_weak(epochs: int, first: int) -> None:
    study = optuna.create_study(direction="maximize", pruner=make_pruner("median", epochs, 10_000))
    for i in range(10):
        weak = study.ask()
        weak.report(0.1, epochs)
        assert not weak.should_prune(), "before enough trials are complete"
        study.tell(weak, state=TrialState.FAIL)
        complete(study, 0.9 + i / 100, epochs)
    weak, strong = study.ask(), study.ask()
    for epoch in range(1, first):
        weak.report(0.1, epoch)
        assert not weak.should_prune(), "while the learning rate rises"
    weak.report(0.1, first)
    assert weak.should_prune()
    strong.report(0.95, first)
    assert not strong.should_prune()


@pytest.mark.parametrize(("images", "ended"), [(10_000, True), (1_000, False)])
def test_the_median_pruner_allows_for_the_error_of_a_count(images: int, ended: bool) -> None:
    """Half a point below 0.945: 2.2 standard errors of 10,000 images, 0.7 of 1,000."""
    study = optuna.create_study(direction="maximize", pruner=make_pruner("median", 20, images))
    for i in range(10):
        complete(study, 0.9 + i / 100)
    near, far, odd = study.ask(), study.ask(), study.ask()
    near.report(0.94, 10)
    assert near.should_prune() is ended
    far.report(0.92, 10)
    assert far.should_prune()
    odd.report(0.5, 21)
    assert not odd.should_prune(), "no complete trial has such an epoch"


def test_the_median_is_that_of_candidates_whose_seeds_count_once() -> None:
    study = optuna.create_study(direction="maximize", pruner=make_pruner("median", 20, 10_000))
    for i in range(30):
        study.enqueue_trial({"x": min(i, 10)})
        trial = study.ask()
        trial.suggest_int("x", 0, 20)
        value = 0.9 + min(i, 10) / 200
        for epoch in range(1, 21):
            trial.report(value, epoch)
        study.tell(trial, value)
    near = study.ask()
    near.report(0.93, 10)
    assert not near.should_prune(), "the median of eleven is 0.925, that of all trials 0.95"


def test_the_command_line_has_every_sampler() -> None:
    for name in SAMPLERS:
        assert run.parse(["--sampler", name]).sampler == name


def test_other_pruners() -> None:
    assert isinstance(make_pruner("hyperband", 20, 1), optuna.pruners.HyperbandPruner)
    assert isinstance(make_pruner("none", 20, 1), optuna.pruners.NopPruner)
