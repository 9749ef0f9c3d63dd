"""Checkpoints: an interrupted training goes on bit-equal; a damaged file is not used."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from search.engine.arithmetic import Arithmetic
from search.engine.checkpoint import Checkpoint, checkpoint_path, sweep
from search.engine.images import Images, on_device
from search.engine.recipe import Augmentation, Recipe
from search.engine.training import Epoch, Fit, fit
from tests.engine.test_training import network

RECIPE = Recipe(
    learning_rate=0.1,
    batch_size=100,
    average_decay=0.9,
    augmentation=Augmentation(rotation=8, shift=1),
)


@pytest.fixture
def images(mnist_1200: tuple[np.ndarray, np.ndarray]) -> Images:
    pixels, labels = mnist_1200
    return on_device(pixels, labels, 0.1307, 0.3081, torch.device("cpu"))


class Cut(Exception):
    pass


def run(
    images: Images,
    checkpoint: Checkpoint | None = None,
    cut_after: int = 99,
    recipe: Recipe = RECIPE,
    arithmetic: Arithmetic = Arithmetic(bfloat16=True),  # noqa: B008
) -> tuple[Fit, list[int]]:
    resumed: list[int] = []

    def on_epoch(epoch: Epoch) -> None:
        if epoch.number == cut_after:
            raise Cut

    done = fit(
        network,
        recipe,
        images,
        images,
        epochs=5,
        seed=1,
        arithmetic=arithmetic,
        checkpoint=checkpoint,
        on_resume=lambda epochs: resumed.extend(epoch.number for epoch in epochs),
        on_epoch=on_epoch,
    )
    return done, resumed


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("fused", [True, False])
def test_what_follows_a_cut_is_bit_equal(
    images: Images, tmp_path: Path, optimizer: str, fused: bool
) -> None:
    recipe = replace(RECIPE, optimizer=optimizer, learning_rate=0.02)
    arithmetic = Arithmetic(bfloat16=True, fused=fused)
    whole, _ = run(images, recipe=recipe, arithmetic=arithmetic)
    checkpoint = Checkpoint(path=tmp_path / "c" / "trial.pt", identity="a")
    for cut in (1, 3):
        with pytest.raises(Cut):
            run(images, checkpoint, cut, recipe, arithmetic)
    parts, resumed = run(images, checkpoint, recipe=recipe, arithmetic=arithmetic)
    assert resumed == [1, 2, 3]
    curves = [[replace(e, seconds=0) for e in done.epochs] for done in (whole, parts)]
    assert curves[0] == curves[1]
    for a, b in zip(whole.model.parameters(), parts.model.parameters(), strict=True):
        assert torch.equal(a, b)
    checkpoint.remove()
    assert not checkpoint.path.parent.exists()


@pytest.mark.parametrize("damage", ["flip", "truncate", "empty", "pickle", "other"])
def test_a_damaged_or_foreign_file_is_not_used(images: Images, tmp_path: Path, damage: str) -> None:
    checkpoint = Checkpoint(path=tmp_path / "trial.pt", identity="a")
    with pytest.raises(Cut):
        run(images, checkpoint, 2)
    content = bytearray(checkpoint.path.read_bytes())
    if damage == "flip":
        content[len(content) // 2] ^= 1
    elif damage == "truncate":
        content = content[:-1]
    elif damage == "empty":
        content.clear()
    elif damage == "pickle":
        content = bytearray(pickle.dumps(Explosive(tmp_path / "exploded"), protocol=2))
    else:
        checkpoint = replace(checkpoint, identity="another candidate")
    checkpoint.path.write_bytes(content)
    assert checkpoint.load() is None
    assert not (tmp_path / "exploded").exists()
    _, resumed = run(images, checkpoint)
    assert resumed == []


class Explosive:
    """A pickle that writes a file when it is loaded without restriction."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return Path.touch, (self.path,)


def test_a_pickle_with_a_right_digest_is_not_executed(tmp_path: Path) -> None:
    import hashlib

    content = pickle.dumps({"identity": "a", "state": Explosive(tmp_path / "exploded")}, protocol=2)
    path = tmp_path / "trial.pt"
    path.write_bytes(hashlib.sha256(content).digest() + content)
    assert Checkpoint(path=path, identity="a").load() is None
    assert not (tmp_path / "exploded").exists()


def test_a_directory_that_cannot_be_written_costs_no_trial(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    checkpoint = Checkpoint(path=tmp_path / "file" / "trial.pt", identity="a")
    assert checkpoint.save({"x": torch.zeros(3)}) is False
    assert checkpoint.load() is None


def test_only_what_trials_that_have_ended_left_is_swept(tmp_path: Path) -> None:
    for study, number in (("a", 1), ("a", 12), ("../b", 1)):
        checkpoint = Checkpoint(path=checkpoint_path(tmp_path, study, number), identity="")
        assert checkpoint.save({"epoch": 1})
        assert checkpoint.path.parent == tmp_path
    checkpoint_path(tmp_path, "a", 3).with_suffix(".pt.abcd_123").touch()  # half written
    users = {checkpoint_path(tmp_path, "a", 1).with_suffix(".pt.backup"), tmp_path / "notes.txt"}
    for file in users:
        file.write_text("a user's own")
    sweep(tmp_path, "a", living={12})
    left = {checkpoint_path(tmp_path, "a", 12), checkpoint_path(tmp_path, "../b", 1)}
    assert set(tmp_path.iterdir()) == left | users
    sweep(tmp_path / "none", "a", living=set())
