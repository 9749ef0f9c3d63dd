"""Recipes: the schedules' shapes and what is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from search.training.recipe import Augmentation, Recipe


def test_one_cycle_peaks_after_the_warm_up_and_ends_near_zero() -> None:
    recipe = Recipe(learning_rate=0.1, warmup=0.25)
    rates = [recipe.rate(step, 100, 10) for step in range(100)]
    assert max(rates) == pytest.approx(0.1)
    assert rates.index(max(rates)) == 25
    assert rates[:26] == sorted(rates[:26])
    assert rates[25:] == sorted(rates[25:], reverse=True)
    assert 0 < rates[-1] < 0.001


def test_cosine_starts_at_the_peak() -> None:
    recipe = Recipe(learning_rate=0.1, schedule="cosine")
    assert recipe.rate(0, 100, 10) == pytest.approx(0.1)
    assert recipe.rate(50, 100, 10) == pytest.approx(0.05, rel=0.01)


def test_steps_fall_after_their_epochs() -> None:
    recipe = Recipe(learning_rate=0.002, schedule="step", milestones=(7, 14))
    by_epoch = [recipe.rate(epoch * 10, 200, 10) for epoch in range(20)]
    assert by_epoch == pytest.approx([0.002] * 7 + [0.0002] * 7 + [0.00002] * 6)


@pytest.mark.parametrize(
    "bad",
    [
        {"optimizer": "lion"},
        {"schedule": "linear"},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"momentum": 1.0},
        {"momentum": 0.0},
        {"batch_size": 0},
        {"batch_size": 32.5},
        {"epochs": 1.5},
        {"milestones": (1.5,), "schedule": "step"},
        {"learning_rate": np.float32(0.01)},  # which a study cannot record
        {"momentum": "0.9"},
        {"epochs": 0},
        {"milestones": (0,)},
        {"label_smoothing": 1.0},
        {"average_decay": 1.0},
    ],
)
def test_values_out_of_range_are_refused_by_name(bad: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(bad)) if "momentum" not in bad else "momentum"):
        Recipe(**bad)


def test_augmentation_is_off_when_every_amount_is_zero() -> None:
    assert not Augmentation().active
    assert Augmentation(shift=1.0).active
    with pytest.raises(ValueError, match="rotation"):
        Augmentation(rotation=-1.0)


def test_the_amounts_of_an_augmentation_fall_linearly() -> None:
    constant = Augmentation(rotation=8, shift=2, scale=0.1)
    assert constant.at(0.7) == constant
    falling = Augmentation(rotation=8, shift=2, scale=0.1, final=0.5)
    assert falling.at(0.0) == constant
    assert falling.at(0.5).rotation == pytest.approx(6)
    assert falling.at(1.0).shift == pytest.approx(1)
    assert not Augmentation(scale=0.1, final=0.0).at(1.0).active
    with pytest.raises(ValueError, match="final"):
        Augmentation(rotation=8, final=1.5)


def test_what_is_trained_otherwise_than_asked_is_said_in_words() -> None:
    recipe = Recipe(epochs=100, batch_size=500, schedule="step", milestones=(5, 12, 13))
    assert recipe.adjusted(epochs=100, images=500) == []
    assert (recipe.epochs_within(1), recipe.batch_within(499)) == (1, 499)
    assert recipe.adjusted(epochs=12, images=499) == [
        "12 epochs instead of its recipe's 100",
        "batches of all 499 images instead of 500",
        "ended before its recipe's milestone at epoch 12",
    ]
    assert recipe.adjusted(epochs=1, images=500)[0] == "1 epoch instead of its recipe's 100"
    assert Recipe().epochs_within(7) == 7
    assert Recipe().adjusted(epochs=7, images=128) == []
