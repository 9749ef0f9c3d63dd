"""Sets of images in one .npz file: what is read, converted, left alone and refused."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from search.common.errors import UserError
from search.data.dataset import DataSource, load_training
from search.data.formats.arrays import ArraySet
from search.data.problem import ImageSize
from search.data.sources import locate
from search.data.testset import load_test, require_test

Array = npt.NDArray[Any]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))


def pixels(*shape: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def labels(count: int, classes: int = 4) -> npt.NDArray[np.uint8]:
    return (np.arange(count) % classes).astype(np.uint8)


def keras(**changes: Any) -> dict[str, Array]:
    """Keras' four arrays of 120 and 30 images, 8×8, with changes; None leaves one out."""
    arrays: dict[str, Any] = {
        "x_train": pixels(120, 8, 8),
        "y_train": labels(120),
        "x_test": pixels(30, 8, 8, seed=1),
        "y_test": labels(30),
    } | changes
    return {name: array for name, array in arrays.items() if array is not None}


def written(tmp_path: Path, arrays: dict[str, Array], *, zipped: bool = False) -> Path:
    file = tmp_path / "shapes.npz"
    save: Any = np.savez_compressed if zipped else np.savez
    save(file, **arrays)
    return file


def located(tmp_path: Path, said: list[str] | None = None, **changes: Any) -> DataSource:
    lines = said if said is not None else []
    return locate(written(tmp_path, keras(**changes)), say=lines.append)


def by_bytes(images: Array, classes: Array) -> list[tuple[bytes, int]]:
    """Images with their labels in whatever order."""
    return sorted(
        (image.tobytes(), int(label)) for image, label in zip(images, classes.flat, strict=True)
    )


def trained_on(source: DataSource) -> list[tuple[bytes, int]]:
    train, validation = load_training(source)
    return by_bytes(
        np.concatenate([train.images, validation.images]),
        np.concatenate([train.labels, validation.labels]),
    )


def refusal(tmp_path: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as refused:
        located(tmp_path, **changes)
    assert "\n" not in str(refused.value) and refused.value.hint
    return str(refused.value)


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
        raw = np.array(pixels(123, 8, 8), order=order)  # type: ignore[call-overload]
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


@pytest.mark.parametrize(
    "names, what",
    [
        (np.array(["a", "b", "a", "c"]), "the name 'a' twice"),
        (np.array(["a", "", "b", "c"]), "an empty name"),
        (np.array([["a", "b", "c", "d"]]), "is no list of names"),
        (np.arange(4), "is no list of names"),
        (np.array(["a", "b", "c"]), "has the label 3, but names 3 classes"),
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
    import io

    stream = io.BytesIO()
    np.save(stream, pixels(120, 8, 8))
    return stream.getvalue()[:-10]


def test_another_kind_of_file_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "images.zip"
    file.write_bytes(b"PK")
    with pytest.raises(UserError, match="neither a directory nor an .npz file"):
        locate(file, say=lambda line: None)


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


def test_a_set_without_test_arrays_says_which(tmp_path: Path) -> None:
    source = located(tmp_path, x_test=None, y_test=None)
    with pytest.raises(UserError) as refused:
        require_test(source)
    assert "Add x_test and y_test (or test_images and test_labels)" in str(refused.value)
    source = located(tmp_path, y_test=None)
    with pytest.raises(UserError, match="lacks y_test"):
        load_test(source)


def test_it_is_decoded_once_pickled_and_scaled(tmp_path: Path) -> None:
    import os

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
