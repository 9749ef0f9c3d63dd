"""Dropout's hash: rates, and independence of neighbours, layers, steps and calls."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search.training.kernels import FusedNetwork
from search.training.kernels.loading import load
from search.training.kernels.network import masked
from search.training.kernels.stages import Masked, dropout_key, threshold
from tests.training.kernels.reference import keeps, lowbias32, needs_bfloat16

COUNT = 1 << 20
SIGMAS = 5.0  # beyond it a difference is no chance; the masks are the same in every run


def factors(count: int, rate: float, seed: int, place: int) -> np.ndarray:
    """Of a dropout layer that is in no stage: what it makes of ones."""
    step = Masked(layer=nn.Dropout(rate), place=place)
    made: np.ndarray = masked(step, torch.ones(1, count), seed).numpy()[0]
    return made


def zeros(rate: float, seed: int, place: int) -> np.ndarray:
    dropped: np.ndarray = factors(COUNT, rate, seed, place) == 0
    return dropped


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """In standard errors of independent draws."""
    return float(np.corrcoef(one, other)[0, 1]) * math.sqrt(len(one))


def test_the_published_constants() -> None:
    """Values of lowbias32 calculated by its C source."""
    inputs = np.array([0, 1, 2, 0xFFFFFFFF, 123456789], dtype=np.uint32)
    outputs = [0, 0x688990C0, 0xD1132181, 0x6768824A, 0xA8F1DB88]
    assert lowbias32(inputs).tolist() == outputs


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.15, 0.5, 0.9])
def test_compiled_masks_are_those_of_the_formula(rate: float) -> None:
    key = dropout_key(3, 4)
    np.testing.assert_array_equal(zeros(rate, 3, 2), ~keeps(COUNT, rate, key))
    kept = factors(COUNT, rate, 3, 2)
    assert sorted(set(kept.tolist())) == pytest.approx([0, 1 / (1 - rate)])


@pytest.mark.parametrize("rate", [0.001, 0.05, 0.15, 0.5, 0.9])
def test_rates(rate: float) -> None:
    error = math.sqrt(rate * (1 - rate) / COUNT)
    for step in range(20):
        assert abs(zeros(rate, step, 0).mean() - rate) < SIGMAS * error
    assert abs(threshold(rate) / 2**32 - rate) <= 2**-33


@pytest.mark.parametrize("rate", [0.05, 0.5])
def test_neighbours_layers_and_steps_are_independent(rate: float) -> None:
    masks = {(seed, place): zeros(rate, seed, place) for seed in range(6) for place in range(4)}
    mask = masks[0, 0]
    for lag in (1, 2, 3, 4, 8, 16, 32, 24 * 16, 26 * 8, 1024, 24 * 24 * 16, 1 << 16):
        assert abs(correlation(mask[lag:], mask[:-lag])) < SIGMAS
    keys = list(masks)
    for i, one in enumerate(keys):
        for other in keys[:i]:
            assert abs(correlation(masks[one], masks[other])) < SIGMAS


def test_close_seeds_and_layers_have_different_keys() -> None:
    keys = {dropout_key(seed, place) for seed in range(2000) for place in range(20)}
    assert len(keys) > 40_000 - 3 * 40_000**2 / 2**33  # some equals by chance
    large = {dropout_key((1 << 62) + seed, 0) for seed in range(1000)}
    assert len(large) > 998


def active(order: list[nn.Module], seed: int) -> Tensor:
    """A stage's output where every value survives ReLU."""
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), *order)
    nn.init.constant_(model[1].bias, 20.0)  # type: ignore[arg-type]
    images = torch.rand(64, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    return FusedNetwork(model)(images, seed).detach()


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ([nn.ReLU(), nn.Dropout(0.25)], 0.25),
        ([nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(0.25)], 0.25),
        ([nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.25)], 0.25),
        ([nn.ReLU(), nn.Dropout(0.5), nn.MaxPool2d(2)], 0.5**4),
        ([nn.ReLU(), nn.Dropout(0.5), nn.MaxPool2d(2), nn.Dropout(0.25)], 1 - 0.75 * (1 - 0.5**4)),
        ([nn.ReLU(), nn.Dropout(0.5), nn.Dropout(0.25)], 1 - 0.5 * 0.75),
        ([nn.ReLU(), nn.Dropout2d(0.25)], 0.25),
    ],
)
def test_stages_drop_their_share(order: list[nn.Module], expected: float) -> None:
    y = active(order, 1)
    draws = 64 * 8 if isinstance(order[-1], nn.Dropout2d) else y.numel()
    share = float((y == 0).float().mean())
    assert abs(share - expected) < SIGMAS * math.sqrt(expected * (1 - expected) / draws)


def test_the_mean_stays() -> None:
    y = active([nn.ReLU(), nn.Dropout(0.25)], 1)
    assert float(y.mean()) == pytest.approx(20.0, rel=0.01)


def test_equal_seeds_give_equal_bits_and_others_do_not() -> None:
    order: list[nn.Module] = [nn.ReLU(), nn.Dropout(0.25)]
    torch.manual_seed(0)
    one = active(order, 5)
    torch.manual_seed(0)
    same = active(order, 5)
    torch.manual_seed(0)
    other = active(order, 6)
    assert torch.equal(one, same)
    assert not torch.equal(one, other)


@needs_bfloat16
def test_a_bfloat16_network_needs_no_kernels_but_its_own() -> None:
    """A parent warms up two types: a worker that met another would compile for seconds."""
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Dropout(0.2), nn.Dropout2d(0.2))
    load.cache_clear()
    FusedNetwork(model, bfloat16=True)(torch.zeros(2, 1, 28, 28), 1)
    assert load.cache_info().misses == 2  # bfloat16, and float32 for dropout outside of stages


def test_torchs_generator_is_not_drawn_from() -> None:
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Dropout(0.2), nn.Dropout2d(0.2))
    before = torch.get_rng_state()
    FusedNetwork(model)(torch.zeros(2, 1, 28, 28), 1)
    assert torch.equal(before, torch.get_rng_state())
