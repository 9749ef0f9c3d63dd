"""The racing sampler, in plain Optuna."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any, Literal

import optuna
import pytest
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import TrialState

from search.study.sampling.racing import RacingSampler, told, trained
from search.study.sampling.seeds import by_candidate

SPACE: dict[str, BaseDistribution] = {
    "x": FloatDistribution(-1, 1),
    "rate": FloatDistribution(1e-3, 1, log=True),
    "depth": IntDistribution(1, 5),
    "even": IntDistribution(2, 20, step=2),
    "wide": IntDistribution(1, 64, log=True),
    "step": FloatDistribution(0, 1, step=0.25),
    "kind": CategoricalDistribution(["a", "b", None]),
    "fixed": FloatDistribution(3, 3),
}


def quality(params: dict[str, Any]) -> float:
    near = (params["x"] - 0.3) ** 2 + 0.05 * (params["depth"] - 2) ** 2
    return float(-near - 0.05 * abs(math.log10(params["rate"]) + 1) - 0.1 * (params["kind"] == "a"))


def search(
    sampler: optuna.samplers.BaseSampler,
    trials: int,
    *,
    luck: float = 0.05,
    seed: int = 7,
    direction: Literal["maximize", "minimize"] = "maximize",
    space: dict[str, BaseDistribution] = SPACE,
) -> optuna.Study:
    draw = random.Random(seed)
    study = optuna.create_study(direction=direction, sampler=sampler)
    sign = 1 if direction == "maximize" else -1
    for _ in range(trials):
        trial = study.ask(space)
        study.tell(trial, sign * (quality(trial.params) + draw.gauss(0, luck)))
    return study


def changed(study: optuna.Study, number: int) -> int:
    """How many parameters differ at least from every earlier trial."""
    params = study.trials[number].params
    return min(
        sum(bool(params[name] != other.params[name]) for name in params)
        for other in study.trials[:number]
    )


def test_a_race_gives_seeds_to_what_may_be_the_best() -> None:
    study = search(RacingSampler(seed=1, race=1.0, local=0.0), 60)
    groups = by_candidate(study.trials)
    assert len(groups) == 10, "after the random ones all are seeds"
    most = max(groups, key=len)
    best = sorted(groups, key=lambda seeds: quality(seeds[0].params))[-3:]
    assert most in best and len(most) >= 10
    worst = min(groups, key=lambda seeds: quality(seeds[0].params))
    assert len(worst) <= 3


def test_its_share_stays_where_each_draw_is_given_several_trials() -> None:
    def seeds(stack: int) -> int:
        study = optuna.create_study(
            direction="maximize", sampler=RacingSampler(seed=1, local=1.0, stack=stack)
        )
        drawn = 0
        while len(study.trials) < 310:
            trial = study.ask(SPACE)
            again = any(trial.params == one.params for one in study.trials[:-1])
            every = [trial]
            for _ in range(stack - 1 if again else 0):
                study.enqueue_trial(trial.params)
                every.append(study.ask(SPACE))
            for one in every:
                study.tell(one, quality(one.params))
            drawn += again * len(every)
        return drawn

    assert 60 < seeds(1) < 120
    assert 60 < seeds(4) < 120


def test_a_local_trial_changes_one_thing_and_stays_in_range() -> None:
    study = search(RacingSampler(seed=1, race=0.0, local=1.0), 120)
    changes = [changed(study, number) for number in range(10, 120)]
    assert set(changes) == {1}
    moved: dict[str, int] = dict.fromkeys(SPACE, 0)
    for number in range(10, 120):
        params = study.trials[number].params
        for earlier in study.trials[:number]:
            differing = [name for name in params if params[name] != earlier.params[name]]
            if len(differing) == 1:
                moved[differing[0]] += 1
                break
    assert moved.pop("fixed") == 0
    assert min(moved.values()) > 0, "whatever its kind"


def test_shares_of_the_three_kinds() -> None:
    space = {name: SPACE[name] for name in ("x", "rate", "depth", "kind")}
    study = search(RacingSampler(seed=3, race=0.4, local=0.5), 110, space=space)
    changes = [changed(study, number) for number in range(10, 110)]
    assert 30 <= changes.count(0) <= 50
    assert 20 <= changes.count(1) <= 45, "0.3 of them, and the model may propose the like"


def test_what_is_small_is_good_where_the_study_says_so() -> None:
    up = search(RacingSampler(seed=5), 30)
    down = search(RacingSampler(seed=5), 30, direction="minimize")
    assert [trial.params for trial in up.trials] == [trial.params for trial in down.trials]


def test_it_ends_nearer_the_best_than_chance() -> None:
    space = {name: SPACE[name] for name in ("x", "rate", "depth", "kind")}

    def mean(make: Callable[[int], optuna.samplers.BaseSampler]) -> float:
        found = []
        for seed in range(4):
            study = search(make(seed), 40, luck=0.03, seed=seed, space=space)
            candidates = trained(study.trials, study.direction)
            best = max(candidates, key=lambda one: one.posterior.expected)
            found.append(quality(best.first.params))
        return sum(found) / 4

    racing = mean(lambda seed: RacingSampler(seed=seed))
    assert racing > mean(lambda seed: optuna.samplers.RandomSampler(seed=seed)) + 0.01


def test_a_space_whose_parameters_depend_on_others() -> None:
    def objective(trial: optuna.Trial) -> float:
        depth = trial.suggest_int("depth", 1, 3)
        widths = [trial.suggest_int(f"width_{i}", 4, 32) for i in range(depth)]
        if sum(widths) > 70:
            raise optuna.TrialPruned
        return sum(widths) / 100 + random.Random(trial.number).gauss(0, 0.05)

    study = optuna.create_study(direction="maximize", sampler=RacingSampler(seed=0))
    study.optimize(objective, n_trials=80)
    assert {trial.state for trial in study.trials} <= {TrialState.COMPLETE, TrialState.PRUNED}
    groups = by_candidate(t for t in study.trials if t.state == TrialState.COMPLETE)
    assert max(map(len, groups)) > 3
    for trial in study.trials:
        assert len(trial.params) == trial.params["depth"] + 1


def test_trials_that_failed_or_were_handed_in_do_no_harm() -> None:
    study = search(RacingSampler(seed=2), 15)
    study.add_trial(optuna.trial.create_trial(value=9.0))  # without parameters
    study.enqueue_trial({**study.trials[0].params, "depth": 5})
    study.tell(study.ask(SPACE), state=TrialState.FAIL)
    study.ask(SPACE)  # is running
    for _ in range(20):
        trial = study.ask(SPACE)
        study.tell(trial, quality(trial.params))
    assert all(trial.params for trial in study.trials if trial.number != 15)


def test_the_model_is_told_of_seeds_pruned_and_too_large_ones() -> None:
    study = optuna.create_study(direction="maximize")
    for x, value in ((1, 0.5), (2, 0.6), (2, 0.7), (3, 0.9), (4, -9.0)):
        study.enqueue_trial({"x": x})
        trial = study.ask({"x": IntDistribution(1, 9)})
        trial.report(value - 0.1, 1)
        study.tell(trial, value)
    for x, reached, over in ((5, 0.55, 0.0), (6, None, 0.5), (7, None, 4.0)):
        study.enqueue_trial({"x": x})
        trial = study.ask({"x": IntDistribution(1, 9)})
        trial.set_constraint("size", over)
        if reached is not None:
            trial.report(reached, 1)
        study.tell(trial, state=TrialState.PRUNED)
    study.enqueue_trial({"x": 8})
    study.ask({"x": IntDistribution(1, 9)})  # is running
    found = trained(study.trials, study.direction)
    scores = [(params["x"], score) for params, score in told(study.trials, found, study.direction)]
    # The median is 0.6: the usual range is 0.6, and what is below 0.3 is drawn nearer.
    low = 0.3 - 0.6 * math.log1p(9.3 / 0.6)
    assert scores[:5] == [(3, 0.9), (2, 0.7), (5, 0.7), (2, 0.6), (1, 0.5)]
    assert [x for x, _ in scores[5:8]] == [4, 6, 7]
    assert [y for _, y in scores[5:8]] == pytest.approx([low, low - 0.3, low - 0.6])
    assert len(scores) == 8, "what is running has no score"


def test_several_objectives_are_refused() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=RacingSampler())
    with pytest.raises(ValueError, match="one objective"):
        study.ask(SPACE)


def test_processes_that_begin_alike_draw_unalike() -> None:
    first, second = RacingSampler(seed=1), RacingSampler(seed=1)
    second.reseed_rng()
    a, b = (search(sampler, 3).trials for sampler in (first, second))
    assert [trial.params for trial in a] != [trial.params for trial in b]


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.PRUNED])
def test_what_violates_a_constraint_is_neither_raced_nor_changed(state: TrialState) -> None:
    """The more that is over, the better it looks where it is complete."""
    study = optuna.create_study(direction="maximize", sampler=RacingSampler(seed=0))
    over = []
    for _ in range(60):
        trial = study.ask()
        x, y = trial.suggest_float("x", 0, 1), trial.suggest_float("y", 0, 1)
        trial.set_constraint("sum", x + y - 1)
        over.append(x + y > 1)
        if state == TrialState.PRUNED and over[-1]:
            study.tell(trial, state=state)
        else:
            study.tell(trial, x + y)
    assert sum(over[-40:]) < 20


@pytest.mark.parametrize("race", [0.0, 1.0])
@pytest.mark.parametrize("local", [0.0, 1.0])
def test_parameters_that_are_fixed_by_another_sampler_stay_so(race: float, local: float) -> None:
    sampler = RacingSampler(seed=1, race=race, local=local)
    fixed = optuna.samplers.PartialFixedSampler({"x": 0.5}, sampler)
    study = search(fixed, 20)
    assert {trial.params["x"] for trial in study.trials} == {0.5}
    assert len({trial.params["rate"] for trial in study.trials}) > 5


@pytest.mark.parametrize(
    "outside",
    [{"depth": 9}, {"x": 70.0}, {"rate": 5.0}, {"wide": 100}, {"even": 5}, {"step": 0.3}],
)
@pytest.mark.filterwarnings("ignore:Fixed parameter")
def test_what_was_queued_outside_its_range_does_no_harm(outside: dict[str, float]) -> None:
    """Optuna takes such values, with a warning."""
    study = optuna.create_study(
        direction="maximize", sampler=RacingSampler(seed=1, race=0.1, local=0.6)
    )
    study.enqueue_trial(outside)
    (name,) = outside
    for number in range(40):
        study.tell(study.ask(SPACE), 9.0 if number == 0 else 0.1 * number)
    kind: Any = SPACE[name]
    for trial in study.trials[1:]:
        again = trial.params[name] == outside[name]  # another seed of the queued one
        assert again or kind.low <= trial.params[name] <= kind.high


def test_trials_that_begin_at_once_do_not_get_each_other_s_parameters() -> None:
    """As where several threads of one study draw."""

    def drawn(*order: int) -> dict[int, dict[str, Any]]:
        sampler = RacingSampler(seed=4, race=0.0, local=1.0)
        study = search(sampler, 12)
        trials = [study.ask(), study.ask()]
        begun = [study.trials[trial.number] for trial in trials]
        spaces = [sampler.infer_relative_search_space(study, trial) for trial in begun]
        return {at: sampler.sample_relative(study, begun[at], spaces[at]) for at in order}

    assert drawn(0, 1) == drawn(1, 0)
    assert drawn(0, 1)[0] != drawn(0, 1)[1]


@pytest.mark.parametrize("unit", [1e160, 1e-160])
def test_values_of_any_size_are_raced(unit: float) -> None:
    study = optuna.create_study(direction="maximize", sampler=RacingSampler(seed=5, local=1.0))
    usual = search(RacingSampler(seed=5, local=1.0), 40)
    draw = random.Random(7)
    for _ in range(40):
        trial = study.ask(SPACE)
        study.tell(trial, unit * (quality(trial.params) + draw.gauss(0, 0.05)))
    agree = [a.params == b.params for a, b in zip(study.trials, usual.trials, strict=True)]
    assert all(agree)


def test_other_parameters_that_make_the_same_candidate_are_seeds_of_it() -> None:
    """As widths that are rounded do; an attribute says so."""
    study = search(RacingSampler(seed=1), 3)
    trial = study.ask(SPACE)
    trial.set_user_attr("seed_of", 1)
    study.tell(trial, 0.7)
    groups = [[one.number for one in seeds] for seeds in by_candidate(study.trials)]
    assert groups == [[0], [1, 3], [2]]
    first, *_ = [one for one in trained(study.trials, study.direction) if one.first.number == 1]
    assert len(first.scores) == 2
