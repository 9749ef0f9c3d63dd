"""Sets of images in one .npz file: what is read, converted and left alone."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.common.errors import UserError
from search.data.dataset import load_training
from search.data.formats.arrays import ArraySet
from search.data.problem import ImageSize
from search.data.sources import locate
from search.data.testset import load_test, require_test
from tests.helpers.data.npz_files import (
    Array,
    by_bytes,
    keras,
    labels,
    located,
    pixels,
    trained_on,
    written,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("zipped", [False, True])
def test_keras_arrays_are_read_with_their_labels(tmp_path: Path, zipped: bool) -> None:
    arrays = keras()
    source = locate(written(tmp_path, arrays, zipped=zipped), say=lambda line: None)
    assert (source.name, source.input_shape, source.classes) == ("shapes", (1, 8, 8), 4)
    assert (source.train_images, source.validation_images) == (100, 20)
    assert trained_on(source) == by_bytes(arrays["x_train"], arrays["y_train"])
    test = load_test(source)
    np.testing.assert_array_equal(test.images[:, 0], arrays["x_test"])
    np.testing.assert_array_equal(test.labels, arrays["y_test"])


def test_medmnists_arrays_are_read_and_its_validation_kept(tmp_path: Path) -> None:
    arrays: dict[str, Array] = {}
    for seed, (part, count) in enumerate((("train", 90), ("val", 24), ("test", 30))):
        arrays[f"{part}_images"] = pixels(count, 48, 64, 3, seed=seed)
        arrays[f"{part}_labels"] = labels(count, 3)[:, None]
    source = locate(written(tmp_path, arrays), say=lambda line: None)
    assert (source.input_shape, source.classes) == ((3, 48, 64), 3)
    train, validation = load_training(source)
    for split, part in ((train, "train"), (validation, "val"), (load_test(source), "test")):
        wanted = arrays[f"{part}_images"].transpose(0, 3, 1, 2)
        assert by_bytes(split.images, split.labels) == by_bytes(wanted, arrays[f"{part}_labels"])


def test_a_validation_of_keras_names_is_kept(tmp_path: Path) -> None:
    source = located(tmp_path, x_val=pixels(12, 8, 8, seed=2), y_val=labels(12))
    assert (source.train_images, source.validation_images) == (120, 12)
    np.testing.assert_array_equal(load_training(source)[1].images[:, 0], pixels(12, 8, 8, seed=2))


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("shape", [(1, 8, 6), (8, 6, 1), (3, 8, 6), (8, 6, 3)])
def test_channels_may_stand_first_or_last(
    tmp_path: Path, shape: tuple[int, ...], order: Any
) -> None:
    raw = pixels(120, *shape)
    source = located(tmp_path, x_train=np.array(raw, order=order))
    wanted = raw if shape[0] in (1, 3) else raw.transpose(0, 3, 1, 2)
    assert source.input_shape == wanted.shape[1:]
    assert trained_on(source) == by_bytes(wanted, labels(120))


@pytest.mark.parametrize("kind", ["<i2", ">u4", "int64", "float16", ">f4", "float64"])
def test_whole_numbers_of_other_types_are_the_same_images(tmp_path: Path, kind: str) -> None:
    said: list[str] = []
    source = located(tmp_path, said, x_train=pixels(120, 8, 8).astype(kind))
    assert trained_on(source) == by_bytes(pixels(120, 8, 8), labels(120))
    assert len(said) == 1 and "decoding" in said[0]


@pytest.mark.parametrize("kind", ["float32", "float64"])
def test_floats_from_0_to_1_are_scaled_which_is_said(tmp_path: Path, kind: str) -> None:
    said: list[str] = []
    source = located(tmp_path, said, x_train=(pixels(120, 8, 8) / 255).astype(kind))
    assert trained_on(source) == by_bytes(pixels(120, 8, 8), labels(120))
    assert f"x_train in {tmp_path / 'shapes.npz'} holds {kind} from 0 to 1: multiplied" in said[1]


def test_scaled_floats_are_rounded_not_cut(tmp_path: Path) -> None:
    images = np.full((120, 8, 8), 0.6 / 255)
    images[0] = 1.0
    source = located(tmp_path, x_train=images)
    train, validation = load_training(source)
    assert set(np.unique([*train.images, *validation.images])) == {1, 255}


def test_more_than_one_stretch_is_read_in_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("search.data.formats.npz.STRETCH", 700)  # ten images and a rest
    for order in ("C", "F"):
        raw = np.array(pixels(123, 8, 8), order=order)
        source = located(tmp_path, x_train=raw, y_train=labels(123))
        assert trained_on(source) == by_bytes(pixels(123, 8, 8), labels(123)), order


@pytest.mark.parametrize("kind", ["int64", "float32", "bool"])
def test_labels_of_any_whole_type_serve(tmp_path: Path, kind: str) -> None:
    given = labels(120, 2).astype(kind)
    assert trained_on(located(tmp_path, y_train=given, y_test=labels(30, 2))) == by_bytes(
        pixels(120, 8, 8), labels(120, 2)
    )


@pytest.mark.parametrize("kind", ["U", "S"])
def test_class_names_are_taken_from_the_file(tmp_path: Path, kind: str) -> None:
    names = np.array(["ant", "bee", "cat", "dog"]).astype(kind)
    assert located(tmp_path, class_names=names).class_names == ("ant", "bee", "cat", "dog")


def test_the_shape_is_known_without_a_pixel(tmp_path: Path) -> None:
    file = written(tmp_path, keras(x_train=pixels(120, 48, 64, 3)))
    content = bytearray(file.read_bytes())
    at = content.index(pixels(120, 48, 64, 3).tobytes()[:64])
    content[at : at + 64] = bytes(64)
    file.write_bytes(content)
    origin = ArraySet(file=file)
    assert origin.shape("train") == (120, (3, 48, 64))
    with pytest.raises(UserError, match="x_train in .* is damaged"):
        origin.read("train", (3, 48, 64), lambda line: None)


def test_the_test_arrays_are_not_read_before_they_are_asked_for(tmp_path: Path) -> None:
    file = written(tmp_path, keras())
    content = bytearray(file.read_bytes())
    at = content.index(keras()["x_test"].tobytes()[:64])
    content[at : at + 64] = bytes(64)
    file.write_bytes(content)
    source = locate(file, say=lambda line: None)
    load_training(source)
    require_test(source)
    with pytest.raises(UserError, match="x_test in .* is damaged"):
        load_test(source)


def test_it_is_decoded_once_pickled_and_scaled(tmp_path: Path) -> None:
    file = written(tmp_path, keras())
    os.utime(file, (1e9, 1e9))  # long settled
    said: list[str] = []
    source = locate(file, say=said.append)
    assert locate(file, say=said.append) == source
    assert len(said) == 1
    assert len(load_test(pickle.loads(pickle.dumps(source)))) == 30
    small = locate(file, image_size=ImageSize(4, 5), say=said.append)
    assert (small.input_shape, small.name) == ((1, 4, 5), "shapes at 4×5")
    assert load_test(small).images.shape == (30, 1, 4, 5)
