"""The whole of MNIST from the network: the wheel, the cache and its mending, damaged copies.

One download serves all of these; `pytest -m "not network"` leaves them out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from search.common.errors import UserError
from search.data import cache
from search.data.dataset import fingerprint, load_training
from search.data.formats import mnist_bytes
from search.data.mnist import from_wheel
from search.data.sources import locate
from search.data.testset import load_test
from tests.helpers.data.idx_files import some_images, some_labels, write_idx

pytestmark = [pytest.mark.network, pytest.mark.processes]


@pytest.fixture(scope="module")
def arrays() -> dict[str, cache.Array]:
    return from_wheel()


@pytest.fixture(autouse=True)
def full_cache(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arrays: dict[str, cache.Array]
) -> Path:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path))
    cache.store(tmp_path / "mnist", arrays)
    return tmp_path / "mnist"


def copy(folder: Path, arrays: dict[str, cache.Array]) -> Path:
    write_idx(folder / "train-images-idx3-ubyte", arrays["train_images"])
    write_idx(folder / "train-labels-idx1-ubyte", arrays["train_labels"])
    write_idx(folder / "t10k-images-idx3-ubyte", arrays["test_images"])
    write_idx(folder / "t10k-labels-idx1-ubyte", arrays["test_labels"])
    return folder


def test_the_wheel_gives_exactly_mnist(arrays: dict[str, cache.Array]) -> None:
    assert cache.digests(arrays) == mnist_bytes.SHA256
    assert fingerprint(arrays["train_images"], arrays["train_labels"]) == mnist_bytes.FINGERPRINT
    assert {name: array.shape for name, array in arrays.items()} == mnist_bytes.SHAPES


def test_a_full_cache_serves(full_cache: Path, arrays: dict[str, cache.Array]) -> None:
    said: list[str] = []
    source = locate(say=said.append)
    assert said == []
    assert source.name == "MNIST"
    assert source.description == f"MNIST from the cache ({full_cache})"
    assert (round(source.mean[0], 4), round(source.std[0], 4)) == (0.1307, 0.3081)
    train, validation = load_training(source)
    assert (len(train), len(validation)) == (50_000, 10_000)
    np.testing.assert_array_equal(validation.images[:, 0], arrays["train_images"][50_000:])
    np.testing.assert_array_equal(load_test(source).images[:, 0], arrays["test_images"])


def test_damage_to_the_cache_is_said_and_fetched_anew(full_cache: Path) -> None:
    source = locate()
    images = np.load(full_cache / "train_images.npy", mmap_mode="r+")
    images[31_415, 9, 26] ^= 1
    images.flush()
    (full_cache / "test_labels.npy").write_bytes(b"")
    said: list[str] = []
    again = locate(say=said.append)
    assert "train_images.npy is damaged" in said[0]
    assert again.fingerprint == source.fingerprint
    assert cache.problem(full_cache, mnist_bytes.SHA256) is None
    assert "now in" in again.description


def test_damage_to_the_cached_test_file_is_mended_when_it_is_needed(full_cache: Path) -> None:
    source = locate()
    (full_cache / "test_images.npy").unlink()
    said: list[str] = []
    assert len(load_test(source, say=said.append)) == 10_000
    assert "test_images.npy is missing" in said[0]
    assert cache.problem(full_cache, mnist_bytes.SHA256) is None


def test_a_copy_in_idx_files_is_known_for_mnist(
    tmp_path: Path, arrays: dict[str, cache.Array]
) -> None:
    source = locate(copy(tmp_path / "mine", arrays))
    assert (source.name, source.fingerprint) == ("MNIST", mnist_bytes.FINGERPRINT)
    assert len(load_test(source)) == 10_000


@pytest.mark.parametrize("name", ["train_images", "train_labels"])
def test_a_damaged_copy_is_refused_and_the_place_said(
    tmp_path: Path, arrays: dict[str, cache.Array], name: str
) -> None:
    harmed = arrays[name].copy()
    harmed[31_415] = (harmed[31_415] + 1) % 10
    data = copy(tmp_path / "mine", {**arrays, name: harmed})
    file = {"train_images": "train-images", "train_labels": "train-labels"}[name]
    with pytest.raises(UserError, match=f"{file}.* differs somewhere in 30,000 to 35,999"):
        locate(data)


def test_a_set_made_from_mnist_is_another_set_not_damage(
    tmp_path: Path, arrays: dict[str, cache.Array]
) -> None:
    binary = np.where(arrays["train_images"] > 127, 255, 0).astype(np.uint8)
    source = locate(copy(tmp_path / "binary", {**arrays, "train_images": binary}))
    assert source.name == "binary"
    small = {name: array[:600] for name, array in arrays.items()}
    assert locate(copy(tmp_path / "small", small)).name == "small"


def test_test_files_that_do_not_belong_are_refused(
    tmp_path: Path, arrays: dict[str, cache.Array]
) -> None:
    other = {**arrays, "test_images": some_images(10_000), "test_labels": some_labels(10_000)}
    with pytest.raises(UserError, match="t10k-images-idx3-ubyte is not MNIST's test file"):
        load_test(locate(copy(tmp_path / "mixed", other)))
    harmed = arrays["test_images"].copy()
    harmed[1234, 0, 0] = 1
    data = copy(tmp_path / "harmed", {**arrays, "test_images": harmed})
    with pytest.raises(UserError, match="t10k-images.* differs somewhere in 1,000 to 1,999"):
        load_test(locate(data))
