"""A sampler that also learns from trials of other studies, in plain Optuna."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.distributions import BaseDistribution, FloatDistribution
from optuna.samplers import BaseSampler, TPESampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.architecture.limits import Limits
from search.study import attributes
from search.study.sampling.choice import make_sampler
from search.study.sampling.informed import InformedSampler, rescaled

RANGES: dict[str, BaseDistribution] = {"x": FloatDistribution(0, 1), "y": FloatDistribution(0, 1)}


def accuracy(x: float, y: float) -> float:
    return 0.99 - 0.3 * ((x - 0.2) ** 2 + (y - 0.7) ** 2)


def known(factor: float = 1.0) -> list[FrozenTrial]:
    """Trials of a study whose errors are so many times ours."""
    places = [(i / 9, j / 9) for i in range(10) for j in range(10)]
    return [
        create_trial(
            value=1 - factor * (1 - accuracy(x, y)), params={"x": x, "y": y}, distributions=RANGES
        )
        for x, y in places
    ]


def best_of(sampler: BaseSampler, trials: int) -> float:
    study = optuna.create_study(direction="maximize", sampler=sampler)

    def judged(trial: optuna.Trial) -> float:
        return accuracy(trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1))

    study.optimize(judged, n_trials=trials)
    return study.best_value


@pytest.mark.parametrize("name", ["racing", "tpe"])
def test_it_begins_where_others_ended(name: str) -> None:
    plain = [best_of(make_sampler(name, seed), 5) for seed in range(5)]
    informed = [best_of(make_sampler(name, seed, known()), 5) for seed in range(5)]
    assert sum(informed) / 5 > sum(plain) / 5 + 0.01
    assert min(informed) > 0.98


def test_errors_are_brought_to_what_the_same_candidates_have_here() -> None:
    theirs = known(factor=0.1)
    own = [
        create_trial(value=accuracy(x, y), params={"x": x, "y": y}, distributions=RANGES)
        for x, y in [(0.0, 1.0), (1 / 9, 5 / 9), (0.123, 0.456)]
    ]
    for trial in rescaled(theirs, own):
        assert trial.value == pytest.approx(accuracy(trial.params["x"], trial.params["y"]))
    assert [t.value for t in rescaled(theirs, [])] == [t.value for t in theirs]


def test_its_own_trials_keep_their_numbers_and_the_study_gets_none() -> None:
    seen: list[tuple[int, int]] = []

    class Looks(TPESampler):
        def infer_relative_search_space(
            self, study: optuna.Study, trial: FrozenTrial
        ) -> dict[str, BaseDistribution]:
            there = study.get_trials(deepcopy=False)
            seen.append((len(there), there[trial.number].state.value))
            return super().infer_relative_search_space(study, trial)

    study = optuna.create_study(sampler=InformedSampler(Looks(seed=0), known()))
    for _ in range(3):
        study.tell(study.ask(RANGES), 0.5)
    assert seen == [(101 + n, optuna.trial.TrialState.RUNNING.value) for n in range(3)]
    assert len(study.trials) == 3


def test_it_works_where_numbers_are_not_ids_and_with_trials_out_of_range(tmp_path: Path) -> None:
    storage = f"sqlite:///{tmp_path}/a.db"
    optuna.create_study(storage=storage, study_name="before").ask()
    study = optuna.create_study(storage=storage, direction="maximize")
    study.enqueue_trial({"x": 7.0, "y": 0.5})  # Optuna trains it with a warning
    for name in ("tpe", "racing", "random"):
        study.sampler = make_sampler(name, 0, known())
        for _ in range(3):
            trial = study.ask()
            x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
            study.tell(trial, accuracy(x, y))
    assert len(study.trials) == 9


@pytest.mark.parametrize("name", ["racing", "tpe"])
def test_trials_that_were_made_under_other_limits_are_judged_by_today_s(name: str) -> None:
    """The best of 40 were within the limit of then: few of the next are drawn near them."""

    def search(study: optuna.Study, count: int, limit: int) -> list[bool]:
        over = []
        for _ in range(count):
            trial = study.ask()
            size = trial.suggest_int("size", 1, 1_000)
            attributes.PARAMETERS.set(trial, size)
            trial.set_constraint("parameters over the limit", size / limit - 1)
            over.append(size > limit)
            if over[-1]:
                study.tell(trial, state=TrialState.PRUNED)
            else:
                study.tell(trial, size / 1_000)
        return over

    study = optuna.create_study(direction="maximize", sampler=make_sampler(name, 0))
    search(study, 40, 800)
    over = {}
    for limits in (None, Limits(max_params=200)):
        there = optuna.create_study(
            direction="maximize", sampler=make_sampler(name, 0, limits=limits)
        )
        there.add_trials(study.trials)
        over[limits] = sum(search(there, 20, 200))
    assert over[Limits(max_params=200)] < over[None] - 4


def test_what_was_over_a_narrower_limit_is_no_longer() -> None:
    seen: list[FrozenTrial] = []

    class Looks(TPESampler):
        def infer_relative_search_space(
            self, study: optuna.Study, trial: FrozenTrial
        ) -> dict[str, BaseDistribution]:
            seen.extend(study.get_trials(deepcopy=False)[:1])
            return super().infer_relative_search_space(study, trial)

    study = optuna.create_study(sampler=InformedSampler(Looks(seed=0), (), Limits(max_params=20)))
    over = create_trial(
        state=TrialState.PRUNED,
        user_attrs={"parameters": 10, "seed_of": 7, "layers": []},
        constraints={"parameters over the limit": 1.0},
    )
    study.add_trial(over)
    study.ask(RANGES)
    assert seen[0].constraints == {"parameters over the limit": -0.5}
    assert seen[0].user_attrs == {"seed_of": 7}
    assert study.trials[0].constraints == {"parameters over the limit": 1.0}, "it stays"
