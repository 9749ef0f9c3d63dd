"""What can be wrong with an .npz file: one line names it."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from search.common.errors import UserError
from search.data.sources import locate
from search.data.testset import load_test, require_test
from tests.helpers.data.npz_files import (
    Array,
    keras,
    labels,
    located,
    pixels,
    refusal,
    written,
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(
    "names, what",
    [
        (np.array(["a", "b", "a", "c"]), "the name 'a' twice"),
        (np.array(["a", "", "b", "c"]), "an empty name"),
        (np.array([["a", "b", "c", "d"]]), "is no list of names"),
        (np.arange(4), "is no list of names"),
        (np.array(["a", "b", "c"]), "has the label 3, but there are names for 3 classes"),
        (np.array(["a", "b", "c", "d"], dtype=object), "class_names in"),
    ],
)
def test_bad_class_names_are_refused(tmp_path: Path, names: Array, what: str) -> None:
    assert what in refusal(tmp_path, class_names=names)


@pytest.mark.parametrize(
    "changes, what",
    [
        ({"x_train": None, "y_train": None}, "lacks x_train and y_train (or train_images and"),
        ({"y_train": None}, "lacks y_train; it holds x_train, x_test, y_test"),
        ({"x_val": pixels(12, 8, 8)}, "lacks y_val"),
        ({"y_train": labels(119)}, "has 119 labels for 120 images in x_train"),
        ({"y_train": np.eye(4)[labels(120)]}, "has the shape 120×4: one label for each image"),
        ({"y_train": np.array(3)}, "has a single value: one label"),
        ({"y_train": labels(120).astype(int) - 1}, "has the label -1 at 0, which is negative"),
        ({"y_train": labels(120) / 2}, "has the label 0.5 at 1, which is not whole"),
        ({"y_train": labels(120) * np.nan}, "which is not whole"),
        ({"y_train": labels(120) * 1e300}, "but labels go up to 65,535"),
        ({"y_train": labels(120).astype("U1")}, "y_train in"),
        ({"x_train": pixels(120, 8, 8).astype(int) + 1}, "holds int64 from 1 to 256"),
        ({"x_train": pixels(120, 8, 8).astype(int) - 1}, "holds int64 from -1 to 254"),
        ({"x_train": pixels(120, 8, 8) / 250}, "not all of them whole"),
        ({"x_train": pixels(120, 8, 8) / 127.5 - 1}, "holds float64 from -1 to 1"),
        ({"x_train": np.where(pixels(120, 8, 8) > 9, 1, np.nan)}, "values that are no numbers"),
        ({"x_train": pixels(120, 8, 8) * 1j}, "holds complex128, not pixels"),
        ({"x_train": pixels(120, 8, 8) > 9}, "holds bool, not pixels"),
        ({"x_train": pixels(120, 64)}, "has the shape 120×64: images take 3 or 4"),
        ({"x_train": pixels(120, 8, 8, 4)}, "1 or 3 channels stand neither"),
        ({"x_train": pixels(120, 3, 8, 3)}, "which are channels"),
        ({"x_train": pixels(120, 0, 8)}, "images without a pixel"),
        ({"x_val": pixels(12, 9, 8), "y_val": labels(12)}, "9×8 grey, but the training images are"),
        ({"x_train": np.array([None] * 120, dtype=object)}, "holds Python objects"),
        ({"y_train": np.array(["a"] * 120, dtype=object)}, "holds Python objects"),
        ({"x_train": pixels(0, 8, 8), "y_train": labels(0)}, "has 0 training images"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, changes: dict[str, Any], what: str) -> None:
    assert what in refusal(tmp_path, **changes)


def test_an_object_array_is_never_unpickled(tmp_path: Path) -> None:
    made = tmp_path / "made"
    arrays = keras(class_names=np.array([_Evil(made)], dtype=object))
    file = written(tmp_path, arrays)
    with pytest.raises(UserError, match="class_names in .* holds Python objects"):
        locate(file, say=lambda line: None)
    assert not made.exists()
    np.load(file, allow_pickle=True)["class_names"]
    assert made.exists()  # so it would have been


class _Evil:
    def __init__(self, made: Path) -> None:
        self.made = made

    def __reduce__(self) -> Any:
        return Path.touch, (self.made,)


def test_files_that_are_no_npz_are_refused(tmp_path: Path) -> None:
    whole = written(tmp_path, keras(), zipped=True).read_bytes()
    at = len(whole) // 4
    for content, what in (
        (b"", "is no .npz file, or is truncated"),
        (b"\x93NUMPY", "is no .npz file"),
        (whole[: len(whole) // 2], "truncated"),
        (whole[:at] + bytes(64) + whole[at + 64 :], "is damaged"),
    ):
        file = tmp_path / "bad.npz"
        file.write_bytes(content)
        with pytest.raises(UserError) as refused:
            locate(file, say=lambda line: None)
        assert what in str(refused.value) and str(file) in str(refused.value)


def test_a_member_that_is_no_array_or_breaks_off_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "odd.npz"
    for content, what in ((b"text", "x_train in"), (_npy_without_an_end(), "7,670 of 7,680 bytes")):
        with zipfile.ZipFile(file, "w") as archive:
            archive.writestr("x_train.npy", content)
            archive.writestr("y_train.npy", b"")
        with pytest.raises(UserError) as refused:
            locate(file, say=lambda line: None)
        assert what in str(refused.value) and "is damaged" in str(refused.value)


def _npy_without_an_end() -> bytes:
    stream = io.BytesIO()
    np.save(stream, pixels(120, 8, 8))
    return stream.getvalue()[:-10]


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "images.zip"
    file.write_bytes(b"PK")
    with pytest.raises(UserError, match="neither a directory nor an .npz file"):
        locate(file, say=lambda line: None)


def test_a_set_without_test_arrays_says_which(tmp_path: Path) -> None:
    source = located(tmp_path, x_test=None, y_test=None)
    with pytest.raises(UserError) as refused:
        require_test(source)
    assert "Add x_test and y_test (or test_images and test_labels)" in str(refused.value)
    source = located(tmp_path, y_test=None)
    with pytest.raises(UserError, match="lacks y_test"):
        load_test(source)
