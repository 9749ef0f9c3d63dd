"""IDX files: which are found, what is read from them, and how a bad one is named."""

from __future__ import annotations

import gzip
import io
import struct
from pathlib import Path

import numpy as np
import pytest

from search.common.errors import UserError
from search.data.formats import idx
from tests.helpers.data.idx_files import (
    idx_bytes,
    some_images,
    some_labels,
    write_dataset,
    write_idx,
)

IMAGES, LABELS = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"


def read(folder: Path, suffix: str = "") -> tuple[idx.Array, idx.Array]:
    return idx.read_pair(folder / (IMAGES + suffix), folder / (LABELS + suffix))


@pytest.mark.parametrize("place", [".", "raw", "MNIST/raw"])
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("separator", ["-", "."])
def test_finds_the_files_in_every_usual_place_and_spelling(
    tmp_path: Path, place: str, zipped: bool, separator: str
) -> None:
    write_dataset(tmp_path / place, zipped=zipped, separator=separator)
    files = idx.find(tmp_path)
    assert list(files) == ["train_images", "train_labels", "test_images", "test_labels"]
    images, labels = idx.read_pair(files["train_images"], files["train_labels"])
    np.testing.assert_array_equal(images, some_images(120))
    np.testing.assert_array_equal(labels, some_labels(120))


def test_a_stray_file_above_does_not_hide_a_whole_set_below(tmp_path: Path) -> None:
    write_dataset(tmp_path / "raw")
    (tmp_path / IMAGES).touch()
    assert idx.find(tmp_path)["train_images"].parent.name == "raw"


def test_the_test_files_may_be_absent(tmp_path: Path) -> None:
    assert list(idx.find(write_dataset(tmp_path, test=0))) == ["train_images", "train_labels"]


@pytest.mark.parametrize("name", [IMAGES, LABELS, "t10k-images-idx3-ubyte"])
def test_a_missing_half_is_named(tmp_path: Path, name: str) -> None:
    write_dataset(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(UserError, match=f"{tmp_path} lacks {name}"):
        idx.find(tmp_path)


def test_both_training_files_missing_are_named(tmp_path: Path) -> None:
    write_dataset(tmp_path)
    (tmp_path / IMAGES).unlink()
    (tmp_path / LABELS).unlink()
    with pytest.raises(UserError, match=f"lacks {IMAGES} and {LABELS}"):
        idx.find(tmp_path)


def test_directories_without_data_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="absent does not exist"):
        idx.find(tmp_path / "absent")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file is not a directory"):
        idx.find(tmp_path / "file")
    with pytest.raises(UserError, match="holds no IDX files"):
        idx.find(tmp_path)
    with pytest.raises(UserError, match="cannot be read"):
        idx.find(tmp_path / ("x" * 300))


def test_gzip_is_told_by_content_not_by_name(tmp_path: Path) -> None:
    write_idx(tmp_path / (IMAGES + ".gz"), some_images(60))
    write_idx(tmp_path / (LABELS + ".gz"), some_labels(60), zipped=True)
    images, _ = read(tmp_path, ".gz")
    np.testing.assert_array_equal(images, some_images(60))


def damaged(content: bytes, at: int) -> bytes:
    return content[:at] + bytes((content[at] ^ 0xFF,)) + content[at + 1 :]


PLAIN = idx_bytes(some_images(60))
ZIPPED = gzip.compress(PLAIN, mtime=0)  # the same bytes in every process of the test run


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (PLAIN[:-1], r"is truncated: 47,039 of 47,040 bytes are there"),
        (PLAIN[:9], r"is truncated: its header breaks off"),
        (PLAIN + b"\0", r"is longer than the 47,040 bytes"),
        (b"", r"begins with nothing instead of 00 00 08 03"),
        (damaged(PLAIN, 2), r"begins with 00 00 f7 03 instead of 00 00 08 03"),
        (idx_bytes(some_labels(60)), r"begins with 00 00 08 01 instead"),
        (b"<!DOCTYPE html><html>", r"begins with 3c 21 44 4f instead"),
        (ZIPPED[: len(ZIPPED) // 2], r"is truncated: its gzip stream breaks off"),
        (ZIPPED[:-4], r"is truncated: its gzip stream breaks off"),
        (damaged(ZIPPED, len(ZIPPED) // 2), r"is damaged"),
        (damaged(ZIPPED, len(ZIPPED) - 6), r"is damaged: CRC check failed"),
        (b"\x1f\x8b" + b"\xff" * 20, r"is damaged"),
        (ZIPPED[:10] + b"\xff" * 20, r"is damaged: Error -3 while decompressing"),
        (bytes((0, 0, 8, 3)) + b"\xff" * 12, r"is truncated: 0 of 79,228"),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / IMAGES).write_bytes(content)
    write_idx(tmp_path / LABELS, some_labels(60))
    with pytest.raises(UserError, match=rf"{IMAGES} .*{reason}") as caught:
        read(tmp_path)
    assert "Download this file again" in str(caught.value)


@pytest.mark.parametrize(
    ("images", "labels", "reason"),
    [
        (some_images(60), some_labels(61), rf"{LABELS} has 61 labels for 60 images"),
        (some_images(60), some_labels(1), rf"{LABELS} has 1 label for 60 images"),
    ],
)
def test_files_that_do_not_fit_are_refused(
    tmp_path: Path, images: idx.Array, labels: idx.Array, reason: str
) -> None:
    write_idx(tmp_path / IMAGES, images)
    write_idx(tmp_path / LABELS, labels)
    with pytest.raises(UserError, match=reason) as caught:
        read(tmp_path)
    assert "ownload" not in str(caught.value)  # that would give the same files


@pytest.mark.parametrize("kind", [(8, 2), (13, 3), (11, 3)])  # rows alone, floats, 16-bit
def test_what_the_format_allows_and_this_program_cannot_read_is_to_be_converted(
    tmp_path: Path, kind: tuple[int, int]
) -> None:
    (tmp_path / IMAGES).write_bytes(bytes((0, 0, *kind)) + PLAIN[4:])
    write_idx(tmp_path / LABELS, some_labels(60))
    with pytest.raises(UserError, match="Only unsigned bytes can be read: convert the data"):
        read(tmp_path)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / IMAGES).mkdir()
    with pytest.raises(UserError, match=rf"{IMAGES} cannot be read"):
        read(tmp_path)


def test_dimensions_are_read_most_significant_byte_first() -> None:
    values = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    content = bytes((0, 0, 8, 3)) + struct.pack(">3I", 1, 2, 3) + values.tobytes()
    np.testing.assert_array_equal(idx.parse(io.BytesIO(content), (3,)), values)
