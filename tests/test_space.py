"""The default space: what it draws for which images and limits."""

from __future__ import annotations

import json
import math
import statistics
from dataclasses import replace

import optuna
import pytest
from optuna.trial import FixedTrial

from search.architecture.building import build
from search.architecture.candidate import LayeredCandidate
from search.architecture.feasibility import describe_space, first_candidate, simplest_start
from search.architecture.layers import TTA, Conv, Deskew
from search.architecture.limits import Limits
from search.architecture.spaces import Space, read_space
from search.candidates.measuring import measure
from search.data.problem import MNIST_PROBLEM, Problem
from space import pools_of, suggest

THINGS = replace(MNIST_PROBLEM, name="things")
SHAPES = [(1, 28, 28), (3, 32, 32), (1, 8, 8), (3, 64, 48), (1, 16, 16), (3, 96, 96), (3, 224, 224)]
LIMITS = [300, 1_000, 2_500, 5_000, 20_000, 100_000, 1_000_000]


def draws(
    count: int,
    problem: Problem = MNIST_PROBLEM,
    max_params: int = 20_000,
    max_macs: int | None = None,
) -> list[LayeredCandidate]:
    """Candidates drawn at random."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    limits = Limits(max_params=max_params, max_macs=max_macs)
    return [suggest(study.ask(), problem, limits) for _ in range(count)]


def space_of(problem: Problem = MNIST_PROBLEM, max_params: int = 20_000) -> Space:
    return Space(file=read_space(), problem=problem, limits=Limits(max_params=max_params))


@pytest.mark.parametrize("problem", [MNIST_PROBLEM, THINGS])
@pytest.mark.parametrize("max_params", [300, 5_000, 20_000])
def test_every_trial_draws_the_same_parameters(problem: Problem, max_params: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
    names = set()
    for _ in range(50):
        trial = study.ask()
        suggest(trial, problem, Limits(max_params=max_params))
        names.add(tuple(trial.params))
    assert len(names) == 1


def test_one_rule_draws_the_same_kinds_of_network_for_every_limit() -> None:
    """No limit at which something begins or ends."""
    kinds = {
        limit: {
            (TTA() in c.layers, Deskew() in c.layers, c.head.kind, c.layers[-2].rotated)
            for c in draws(250, max_params=limit)
            if isinstance(c.layers[-2], Conv)
        }
        for limit in (5_000, 9_999, 10_001, 20_000)
    }
    assert all(len(found) == 16 for found in kinds.values())
    names = {limit: describe_space(space_of(max_params=limit)).keys() for limit in LIMITS}
    assert all(found == names[300] for found in names.values())


@pytest.mark.parametrize("max_params", LIMITS)
@pytest.mark.parametrize("shape", SHAPES)
def test_every_draw_is_a_network_of_the_images_that_is_within_the_limit_if_one_can_be(
    shape: tuple[int, int, int], max_params: int
) -> None:
    problem = replace(THINGS, input_shape=shape)
    drawn = draws(20, problem, max_params)
    within = [candidate.costs().parameters <= max_params for candidate in drawn]
    if max_params >= 2_500:
        assert all(within)
    for candidate in drawn:
        assert candidate.input_shape == shape
        assert len(candidate.costs().layers) >= 3
        assert LayeredCandidate.from_json(candidate.to_json()) == candidate
    if max_params <= 20_000 and max(shape) <= 64:
        network = build(drawn[0]).eval()
        import torch

        assert network(torch.zeros(2, *shape)).shape == (2, 10)


@pytest.mark.parametrize("shape", SHAPES[:5])
def test_some_network_has_300_parameters(shape: tuple[int, int, int]) -> None:
    space = space_of(replace(THINGS, input_shape=shape), 300)
    start = suggest(FixedTrial(first_candidate(space)), space.problem, space.limits)
    assert start.costs().parameters <= 300


@pytest.mark.parametrize(
    ("max_params", "max_macs"), [(20_000, 700_000), (1_000_000, 650_000), (5_000, 10**7)]
)
def test_multiply_accumulates_are_within_their_limit(max_params: int, max_macs: int) -> None:
    for candidate in draws(100, max_params=max_params, max_macs=max_macs):
        assert candidate.costs().macs <= max_macs
        assert candidate.costs().parameters <= max_params


@pytest.mark.parametrize("limits", [Limits(max_ram=6_000), Limits(max_ram=16_000, max_flash=3_000)])
def test_what_is_drawn_fits_into_ram_and_flash(limits: Limits) -> None:
    """Rotated layers have at least four channels: the first two need 2,704 + 2,304 bytes."""
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=3))
    for _ in range(100):
        costs = suggest(study.ask(), MNIST_PROBLEM, limits).costs()
        assert costs.peak_activation_bytes <= 4 * (limits.max_ram or 0)
        assert costs.flash_bytes <= (limits.max_flash or math.inf)


@pytest.mark.parametrize("rotated", [0, 1])
def test_a_limit_of_flash_is_used_up_and_kept_with_rotated_filters_written_out(
    rotated: int,
) -> None:
    params = {**simplest_start(space_of()), "size": 1.0, "rotated": rotated}
    costs = suggest(FixedTrial(params), MNIST_PROBLEM, Limits(max_flash=5_000)).costs()
    assert 4_400 < costs.flash_bytes <= 5_000
    assert costs.parameters < (1_500 if rotated else 5_000)


@pytest.mark.parametrize("max_params", [5_000, 20_000, 100_000])
def test_work_is_bounded(max_params: int) -> None:
    """Rotated filters would else make a network four times as slow."""
    for candidate in draws(100, max_params=max_params):
        copies = 3 if TTA() in candidate.layers else 1
        assert candidate.costs().macs <= copies * max(1_000_000, 50 * max_params)


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32)])
def test_images_of_things_get_four_times_the_work_and_use_the_parameters(
    shape: tuple[int, int, int],
) -> None:
    """A padded network of 1.0 M multiply-accumulates has room for 8,000 of 20,000 parameters."""
    candidates = draws(100, replace(THINGS, input_shape=shape))
    costs = [candidate.costs() for candidate in candidates]
    digits = 1_000_000 * shape[1] * shape[2] / 28**2
    work = [
        each.macs / (3 if TTA() in candidate.layers else 1)
        for candidate, each in zip(candidates, costs, strict=True)
    ]
    assert 3 * digits < max(work) <= 4 * digits
    assert sum(each.parameters > 9_000 for each in costs) > 75


@pytest.mark.parametrize(
    ("depth", "size"),
    [((2, 1, 1), 0.5), ((2, 1, 1), 0.7), ((3, 3, 2), 0.5), ((3, 3, 2), 0.7), ((3, 3, 2), 1.0)],
)
def test_a_size_is_the_share_of_the_limit_that_is_used(
    depth: tuple[int, int, int], size: float
) -> None:
    """One channel more in every layer is up to 15 per cent of a narrow network."""
    start = simplest_start(space_of())
    depths = {f"depth_{i + 1}": value for i, value in enumerate(depth)}
    params = {**start, **depths, "size": size}
    candidate = suggest(FixedTrial(params), MNIST_PROBLEM, Limits())
    assert 0.85 * size <= candidate.costs().parameters / 20_000 <= size
    assert len([layer for layer in candidate.layers if isinstance(layer, Conv)]) == sum(depth)


@pytest.mark.parametrize("max_params", [1_000, 2_500, 5_000, 10_000])
def test_a_small_limit_is_used_up_to_what_rounding_leaves(max_params: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=2))
    used = []
    for _ in range(100):
        trial = study.ask()
        suggest(trial, MNIST_PROBLEM, Limits(max_params=max_params))
        params = {**trial.params, "size": 1.0, "rotated": 0}
        candidate = suggest(FixedTrial(params), MNIST_PROBLEM, Limits(max_params=max_params))
        used.append(candidate.costs().parameters / max_params)
    assert min(used) > 0.75
    assert statistics.median(used) > 0.9


def test_a_limit_below_every_network_is_left_to_the_gate() -> None:
    candidate = draws(1, max_params=10)[0]
    assert candidate.costs().parameters > 10
    build(candidate)


@pytest.mark.parametrize(
    ("shape", "pools"),
    [((1, 28, 28), 2), ((3, 32, 32), 2), ((3, 64, 48), 2), ((3, 64, 64), 3), ((1, 8, 8), 0)]
    + [((1, 16, 16), 1), ((1, 1, 300), 0), ((3, 224, 224), 5)],
)
def test_the_map_is_halved_as_often_as_its_size_allows(
    shape: tuple[int, int, int], pools: int
) -> None:
    assert pools_of(shape) == pools
    problem = replace(THINGS, input_shape=shape)
    if min(shape[1:]) < 8:
        return
    for candidate in draws(10, problem):
        pooled = [layer for layer in candidate.layers if isinstance(layer, Conv)]
        assert sum(layer.early_pool for layer in pooled) == pools


@pytest.mark.parametrize("max_params", [1_000, 20_000, 200_000])
@pytest.mark.parametrize("shape", SHAPES[:5])
def test_the_formula_counts_what_is_measured(shape: tuple[int, int, int], max_params: int) -> None:
    for problem in (replace(MNIST_PROBLEM, input_shape=shape), replace(THINGS, input_shape=shape)):
        for candidate in draws(4, problem, max_params):
            by_formula, found = candidate.costs(), measure(candidate.build, shape, 10)
            assert by_formula.parameters == found.parameters
            assert by_formula.macs == found.macs
            assert by_formula.peak_activation_bytes == found.peak_activation_bytes
            assert by_formula.flash_bytes == found.flash_bytes


def test_only_handwriting_is_deskewed_and_only_other_images_are_mirrored() -> None:
    digits, things = draws(40), draws(40, THINGS)
    assert {Deskew() in candidate.layers for candidate in digits} == {True, False}
    assert not any(Deskew() in candidate.layers for candidate in things)
    distortions = [candidate.recipe.augmentation for candidate in digits]
    assert not any(d.mirror or d.brightness or d.cutout for d in distortions)
    distortions = [candidate.recipe.augmentation for candidate in things]
    assert {d.mirror for d in distortions} == {True, False}
    assert max(d.brightness for d in distortions) > 0.3
    assert max(d.cutout for d in distortions) > 0.3
    assert {c.layers[-2].padding for c in things if isinstance(c.layers[-2], Conv)} == {1}


def test_the_head_has_as_many_outputs_as_there_are_classes() -> None:
    problem = replace(THINGS, class_names=("cat", "dog", "fish"))
    assert {candidate.head.classes for candidate in draws(9, problem)} == {3}


def test_colour_images_cannot_be_deskewed() -> None:
    colour = replace(MNIST_PROBLEM, input_shape=(3, 28, 28))
    assert not any(Deskew() in candidate.layers for candidate in draws(20, colour))


def test_what_overfits_gets_larger_batches_and_more_dropout() -> None:
    batches = [draws(1, max_params=limit)[0].recipe.batch_size for limit in LIMITS]
    assert batches == sorted(batches)
    assert dict(zip(LIMITS, batches, strict=True))[20_000] == 192
    assert (batches[0], batches[-1]) == (128, 256)
    described = [describe_space(space_of(max_params=limit))["dropout"] for limit in LIMITS]
    rates = [json.loads(text)["attributes"]["high"] for text in described]
    assert rates == sorted(rates)
    assert rates[0] < 0.001 < 0.1 < rates[-1]


@pytest.mark.parametrize("max_params", [1_000, 5_000, 20_000])
def test_the_simplest_start_is_within_small_limits(max_params: int) -> None:
    space = space_of(max_params=max_params)
    start = simplest_start(space)
    candidate = suggest(FixedTrial(start), space.problem, space.limits)
    assert candidate.costs().parameters <= max_params
