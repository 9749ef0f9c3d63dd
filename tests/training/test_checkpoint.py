"""States: an interrupted training goes on bit-equal; a damaged one is not used."""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from search.data.images import Images, on_device
from search.training.arithmetic import Arithmetic
from search.training.checkpoint import pack, unpack
from search.training.loop import TrainingRun
from search.training.recipe import Augmentation, Recipe
from tests.training.test_loop import network

RECIPE = Recipe(
    learning_rate=0.1,
    batch_size=100,
    average_decay=0.9,
    augmentation=Augmentation(rotation=8, shift=1),
)


@pytest.fixture
def images(mnist_1200: tuple[np.ndarray, np.ndarray]) -> Images:
    pixels, labels = mnist_1200
    return on_device(pixels[:, None], labels, (0.1307,), (0.3081,), torch.device("cpu"))


def new_run(
    images: Images,
    recipe: Recipe = RECIPE,
    arithmetic: Arithmetic = Arithmetic(bfloat16=True),  # noqa: B008
) -> TrainingRun:
    return TrainingRun(network, recipe, images, images, epochs=5, seed=1, arithmetic=arithmetic)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("fused", [True, False])
def test_what_follows_a_cut_is_bit_equal(images: Images, optimizer: str, fused: bool) -> None:
    recipe = replace(RECIPE, optimizer=optimizer, learning_rate=0.02)
    arithmetic = Arithmetic(bfloat16=True, fused=fused)
    whole = new_run(images, recipe, arithmetic)
    list(whole.epochs())
    packed = None
    for cut in (1, 3):
        part = new_run(images, recipe, arithmetic)
        if packed is not None:
            part.load_state(unpack(packed, "a") or {})
        for epoch in part.epochs():
            if epoch.number == cut:
                packed = pack("a", part.state())
                break
    last = new_run(images, recipe, arithmetic)
    last.load_state(unpack(packed, "a") or {})
    assert [epoch.number for epoch in last.curve] == [1, 2, 3]
    list(last.epochs())
    curves = [[replace(e, seconds=0) for e in run.curve] for run in (whole, last)]
    assert curves[0] == curves[1]
    for a, b in zip(whole.model.parameters(), last.model.parameters(), strict=True):
        assert torch.equal(a, b)


class Explosive:
    """A pickle that writes a file when it is loaded without restriction."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "pickle", "digest", "other"])
def test_what_is_damaged_or_foreign_is_not_used(tmp_path: Path, damage: str) -> None:
    packed = pack("a", {"x": torch.zeros(3)})
    assert unpack(packed, "a") is not None
    pickled = pickle.dumps({"identity": "a", "content": Explosive(tmp_path / "exploded")}, 2)
    content = bytearray(packed)
    content[len(content) // 2] ^= 1
    damaged = {
        "flip": bytes(content),
        "truncate": packed[:-1],
        "empty": b"",
        "pickle": pickled,
        "digest": hashlib.sha256(pickled).digest() + pickled,
        "other": pack("another candidate", {"x": torch.zeros(3)}),
    }
    assert unpack(damaged[damage], "a") is None
    assert unpack(None, "a") is None
    assert not (tmp_path / "exploded").exists()
