"""The test file, when it is asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from search.common.errors import UserError
from search.data.sources import locate
from search.data.testset import load_test
from tests.helpers.data.idx_files import some_images, some_labels, write_dataset, write_idx


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))


def test_gives_the_test_files_and_lets_nobody_write(tmp_path: Path) -> None:
    test = load_test(locate(write_dataset(tmp_path / "data", zipped=True), say=print))
    np.testing.assert_array_equal(test.images[:, 0], some_images(30, seed=1))
    np.testing.assert_array_equal(test.labels, some_labels(30))
    assert test.labels.dtype == np.int64
    with pytest.raises(ValueError, match="read-only"):
        test.images[0, 0, 0, 0] = 1


def test_a_search_works_without_test_files_and_a_test_does_not(tmp_path: Path) -> None:
    source = locate(write_dataset(tmp_path / "data", test=0), say=print)
    with pytest.raises(UserError, match="has no test files. Put t10k-images-idx3-ubyte"):
        load_test(source)


def test_bad_test_files_are_named(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    source = locate(data, say=print)
    write_idx(data / "t10k-labels-idx1-ubyte", some_labels(29))
    with pytest.raises(UserError, match="t10k-labels-idx1-ubyte has 29 labels for 30 images"):
        load_test(source)


def test_a_test_label_that_was_not_trained_on_is_refused(tmp_path: Path) -> None:
    data = write_dataset(tmp_path / "data")
    write_idx(data / "train-labels-idx1-ubyte", some_labels(120) % 3)
    source = locate(data, say=print)
    with pytest.raises(UserError, match="has the label 3 at 3, but .* go from 0 to 2"):
        load_test(source)
