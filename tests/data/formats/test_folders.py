"""Folders of images: how they are found, parted and named."""

from __future__ import annotations

import os
import pickle
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.data.dataset import load_training
from search.data.formats.folders import FolderSet
from search.data.testset import load_test, require_test
from tests.helpers.data.folder_sets import (
    colour,
    fill,
    find,
    grey,
    parted,
    save,
    trained_on,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))


def test_train_and_test_folders_are_read_with_their_labels(tmp_path: Path) -> None:
    source = find(parted(tmp_path))
    assert (source.name, source.class_names) == ("set", ("cat", "dog"))
    assert (source.input_shape, source.train_images, source.validation_images) == (
        (1, 8, 8),
        50,
        10,
    )
    assert trained_on(source) == Counter(
        (grey(seed).tobytes(), "cat" if seed < 30 else "dog") for seed in range(60)
    )
    test = load_test(source)
    np.testing.assert_array_equal(test.images[:, 0], [grey(seed) for seed in range(900, 908)])
    assert test.labels.tolist() == [0] * 4 + [1] * 4


@pytest.mark.parametrize("called", ["val", "Valid", "validation"])
def test_a_validation_folder_is_kept(tmp_path: Path, called: str) -> None:
    directory = parted(tmp_path)
    fill(directory / called, {"dog": 3, "cat": 2}, seed=500)
    source = find(directory)
    assert (source.train_images, source.validation_images) == (60, 5)
    validation = load_training(source)[1]
    assert validation.labels.tolist() == [0, 0, 1, 1, 1]
    np.testing.assert_array_equal(validation.images[0, 0], grey(503))


def test_a_sixth_of_each_class_is_held_out(tmp_path: Path) -> None:
    counts = {"a": 61, "b": 31, "c": 13, "d": 100}
    said: list[str] = []
    source = find(fill(tmp_path / "set", counts), said=said)
    total = sum(counts.values())
    assert source.train_images + source.validation_images == total - total // 6
    test = load_test(source)
    for label, count in enumerate(counts.values()):
        assert abs((test.labels == label).sum() - count / 6) <= 1
    tested = Counter(
        (i.tobytes(), "abcd"[n]) for i, n in zip(test.images, test.labels, strict=True)
    )
    seeds = [(seed, name) for name, count in counts.items() for seed in range(count)]
    names = [name for _, name in seeds]
    assert trained_on(source) + tested == Counter(
        (grey(seed).tobytes(), name) for seed, name in enumerate(names)
    )
    assert any("34 of its 205 images, a sixth of each class, are held out" in s for s in said)


def test_the_held_out_sixth_follows_the_names_alone(tmp_path: Path) -> None:
    here = FolderSet(directory=fill(tmp_path / "here", {"a": 40, "b": 33}), size=None)
    there = FolderSet(directory=tmp_path / "there", size=None)
    for name, count in (("b", 33), ("a", 40)):
        for number in reversed(range(count)):
            save(there.directory / name / f"{number:03}.png", colour(number))
    relative = [[f.relative_to(o.directory) for f in o.files()] for o in (here, there)]
    assert relative[0] == relative[1] and len(relative[0]) == 73 - 12
    # pinned: a search of an earlier day must find the images that it held out
    every = {f"{name}/{i:03}.png" for name, count in (("a", 40), ("b", 33)) for i in range(count)}
    assert sorted(every - {str(file) for file in relative[0]}) == [
        "a/001.png",
        "a/005.png",
        "a/006.png",
        "a/009.png",
        "a/012.png",
        "a/016.png",
        "a/037.png",
        "b/002.png",
        "b/010.png",
        "b/022.png",
        "b/024.png",
        "b/032.png",
    ]


@pytest.mark.parametrize("flat", [True, False])
def test_no_test_image_is_opened_before_the_test(
    tmp_path: Path, flat: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = fill(tmp_path / "set", {"a": 40, "b": 33}) if flat else parted(tmp_path)
    monkeypatch.setitem(globals(), "_WATCHING", [True])
    _OPENED.clear()
    source = find(directory)
    load_training(source)
    require_test(source)
    before = {name for name in _OPENED if name.startswith(str(directory) + os.sep)}
    assert source.origin is not None
    assert before == set(map(str, source.origin.files()))
    _OPENED.clear()
    load_test(source)
    after = {name for name in _OPENED if name.startswith(str(directory) + os.sep)}
    assert len(after) == (12 if flat else 8) and not before & after


_OPENED: list[str] = []
_WATCHING: list[bool] = []  # not empty: files that are opened are noted; a hook cannot be removed


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    if _WATCHING and event == "open" and isinstance(arguments[0], str | bytes | os.PathLike):
        _OPENED.append(os.fsdecode(arguments[0]))


sys.addaudithook(_note)


def test_classes_whose_names_are_numbers_are_in_their_order(tmp_path: Path) -> None:
    assert find(fill(tmp_path / "n", {"10": 30, "2": 30, "1": 30})).class_names == ("1", "2", "10")
    assert find(fill(tmp_path / "m", {"10": 30, "2": 30, "x": 30})).class_names == ("10", "2", "x")


def test_spaces_and_letters_of_all_scripts_are_names(tmp_path: Path) -> None:
    counts = {"große Katze": 40, "犬": 40}
    source = find(fill(tmp_path / "meine Bilder ü", counts, ending="PNG"))
    assert (source.name, source.class_names) == ("meine Bilder ü", ("große Katze", "犬"))
    assert len(load_test(source)) == 13


def test_a_size_scales_images_of_all_sizes_by_averaging(tmp_path: Path) -> None:
    directory = parted(tmp_path, lambda seed: grey(seed, 8 + seed % 5, 9 + seed % 3))
    board = (np.indices((32, 32)).sum(axis=0) % 2 * 255).astype(np.uint8)
    save(directory / "test" / "cat" / "000.png", board)
    source = find(directory, 8)
    assert (source.input_shape, source.name) == ((1, 8, 8), "set at 8×8")
    board_scaled = load_test(source).images[0]
    assert 120 <= board_scaled.min() <= board_scaled.max() <= 135


def test_hidden_files_and_clutter_are_passed_over(tmp_path: Path) -> None:
    directory = parted(tmp_path)
    before = trained_on(find(directory))
    for name in (".hidden.png", "Thumbs.db", "desktop.ini", ".DS_Store"):
        (directory / "train" / "cat" / name).write_bytes(b"clutter")
    for name in (".git", "__MACOSX"):
        (directory / "train" / name).mkdir()
    (directory / "train" / "README.txt").write_text("beside the classes")
    assert trained_on(find(directory)) == before


def test_a_test_may_lack_a_class_which_is_said(tmp_path: Path) -> None:
    directory = fill(tmp_path / "set" / "train", {"a": 30, "b": 30, "c": 30}).parent
    fill(directory / "test", {"a": 2, "c": 2})
    said: list[str] = []
    test = load_test(find(directory), say=said.append)
    assert test.labels.tolist() == [0, 0, 2, 2]
    assert said == ["no test image is of class b: no test accuracy covers it"]


def test_it_is_decoded_once_and_picklable(tmp_path: Path) -> None:
    directory = parted(tmp_path)
    for file in directory.rglob("*.png"):
        os.utime(file, (1e9, 1e9))  # long settled
    said: list[str] = []
    source = find(directory, said=said)
    assert find(directory, said=said) == source and len(said) == 1
    assert len(load_test(pickle.loads(pickle.dumps(source)))) == 8
    os.utime(directory / "train" / "cat" / "000.png", (1e9, 1e9 + 1))
    find(directory, said=said)
    assert len(said) == 2
