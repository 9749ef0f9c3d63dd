"""The two splits of the training file, and what the module that gives them cannot reach."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.common.errors import UserError
from search.data.dataset import (
    DataSource,
    fingerprint,
    load_arrays,
    load_training,
)
from search.data.splits import validation_size
from tests.helpers.data.idx_files import some_images, some_labels


def decoded(folder: Path, count: int) -> DataSource:
    images, labels = some_images(count), some_labels(count)
    np.save(folder / "train_images.npy", images)
    np.save(folder / "train_labels.npy", labels)
    return DataSource(
        folder=folder,
        name="small",
        description="small",
        fingerprint=fingerprint(images, labels),
        mean=(0.5,),
        std=(0.3,),
        train_images=count - count // 6,
        validation_images=count // 6,
    )


def test_the_last_images_of_the_arrays_validate(tmp_path: Path) -> None:
    train, validation = load_training(decoded(tmp_path, 120))
    assert (len(train), len(validation)) == (100, 20)
    images = some_images(120)
    assert train.images.shape == (100, 1, 28, 28)
    np.testing.assert_array_equal(train.images[:, 0], images[:100])
    np.testing.assert_array_equal(validation.images[:, 0], images[100:])
    np.testing.assert_array_equal(validation.labels, some_labels(120)[100:])
    assert validation.labels.dtype == np.int64


@pytest.mark.parametrize(
    ("images", "expected"), [(60_000, 10_000), (240_000, 10_000), (59_999, 9_999), (60, 10)]
)
def test_a_sixth_validates_but_never_more_than_mnists_10000(images: int, expected: int) -> None:
    assert validation_size(images) == expected


def test_images_cannot_be_written(tmp_path: Path) -> None:
    train, validation = load_training(decoded(tmp_path, 120))
    for split in (train, validation):
        with pytest.raises(ValueError, match="read-only"):
            split.images[0, 0, 0, 0] = 1
        with pytest.raises(ValueError, match="read-only"):
            split.labels[0] = 1


def test_decoded_files_that_are_gone_or_cut_are_the_users_to_mend(tmp_path: Path) -> None:
    source = decoded(tmp_path, 120)
    images = tmp_path / "train_images.npy"
    images.write_bytes(images.read_bytes()[:1000])
    with pytest.raises(UserError, match="small's decoded files"):
        load_training(source)
    images.unlink()
    with pytest.raises(UserError, match="small's decoded files"):
        load_training(source)


@pytest.mark.parametrize("what", ["images", "labels", "both cut", "a pickle", "a zip file"])
def test_replaced_files_are_not_trained_on(tmp_path: Path, what: str) -> None:
    source = decoded(tmp_path, 120)
    images, labels = tmp_path / "train_images.npy", tmp_path / "train_labels.npy"
    if what == "images":
        np.save(images, some_images(120, seed=9))
    elif what == "labels":
        np.save(labels, some_labels(120)[::-1])
    elif what == "both cut":
        np.save(images, some_images(119))
        np.save(labels, some_labels(119))
    elif what == "a pickle":
        np.save(images, np.array([{"code": "runs"}]), allow_pickle=True)
    else:
        np.savez(images.with_suffix(""), some_images(120))
        images.with_suffix(".npz").rename(images)
    with pytest.raises(UserError, match="decoded files .* Start the command again"):
        load_training(source)


def test_what_was_checked_is_what_is_used(tmp_path: Path) -> None:
    """Also when a file is overwritten in place while a process trains on it."""
    source = decoded(tmp_path, 120)
    train, _ = load_training(source)
    with (tmp_path / "train_images.npy").open("r+b") as file:
        file.seek(200)
        file.write(bytes(50_000))
    np.testing.assert_array_equal(train.images[:, 0], some_images(120)[:100])


def test_a_source_survives_pickling(tmp_path: Path) -> None:
    source = decoded(tmp_path, 120)
    assert pickle.loads(pickle.dumps(source)) == source
    assert len(pickle.dumps(source)) < 1000


def test_arrays_in_memory_stand_for_the_folder(tmp_path: Path) -> None:
    source = decoded(tmp_path, 120)
    arrays = load_arrays(source)
    elsewhere = replace(source, folder=tmp_path / "nowhere", arrays=arrays)
    for here, there in zip(load_training(source), load_training(elsewhere), strict=True):
        assert np.array_equal(here.images, there.images)
        assert np.array_equal(here.labels, there.labels)
        assert np.shares_memory(there.images, arrays[0]), "no copy"


@pytest.mark.processes
def test_importing_it_reaches_neither_the_test_file_nor_torch() -> None:
    code = (
        "import sys, search.data.dataset\n"
        "names = ('torch', 'torchvision', 'pandas', 'optuna', 'search.data.testset',"
        " 'search.data.sources')\n"
        "print([name for name in names if name in sys.modules])"
    )
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"
