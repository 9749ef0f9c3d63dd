"""The wheel's pickle: arrays come out of it and nothing else happens."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import pickle
import pickletools
import zipfile
from pathlib import Path

import numpy as np
import pytest

from search.data import mnist
from search.data.mnist import FetchError, load_arrays, read_wheel
from tests.helpers.data.idx_files import some_images, some_labels


class _Attack:
    """Unpickling it calls `function(argument)`."""

    def __init__(self, function: object, argument: object) -> None:
        self.call = (function, (argument,))

    def __reduce__(self) -> tuple[object, tuple[object, ...]]:
        return self.call


@pytest.mark.parametrize("function", [os.mkdir, eval, open])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_a_malicious_pickle_does_nothing(tmp_path: Path, function: object, protocol: int) -> None:
    victim = tmp_path / "victim"
    argument = f"__import__('os').mkdir({str(victim)!r})" if function is eval else str(victim)
    if function is open:
        victim.write_text("untouched")
    content = pickle.dumps(_Attack(function, argument), protocol=protocol)
    with pytest.raises(pickle.UnpicklingError, match="is not allowed"):
        load_arrays(io.BytesIO(content))
    assert not victim.is_dir()


def test_a_module_hidden_behind_numpy_is_not_reached() -> None:
    # protocol 4 takes dotted names apart: numpy's `os` would be found below an allowed module
    content = b"\x80\x04\x8c\x05numpy\x8c\x0flib.os.getenv__\x93."
    with pytest.raises(pickle.UnpicklingError, match="is not allowed"):
        load_arrays(io.BytesIO(content))
    assert "STACK_GLOBAL" in {op.name for op, _, _ in pickletools.genops(content)}


def as_published(images: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return (images.reshape(-1, 784) / np.float32(256)).astype(np.float32), labels.astype(np.int64)


def make_wheel(folder: Path, content: bytes) -> tuple[Path, str]:
    zipped = gzip.compress(content)
    with zipfile.ZipFile(folder / "made.whl", "w") as archive:
        archive.writestr(mnist.PICKLE_NAME, zipped)
    return folder / "made.whl", hashlib.sha256(zipped).hexdigest()


def published_pickle() -> bytes:
    pairs = [as_published(some_images(n, seed=n), some_labels(n)) for n in (50, 10, 20)]
    return pickle.dumps(tuple(pairs), protocol=3).replace(
        b"cnumpy._core.multiarray\n",
        b"cnumpy.core.multiarray\n",  # as older numpy wrote it
    )


def test_the_arrays_come_back_exactly(tmp_path: Path) -> None:
    path, digest = make_wheel(tmp_path, published_pickle())
    arrays = read_wheel(path, pickle_sha256=digest)
    expected = np.concatenate([some_images(50, seed=50), some_images(10, seed=10)])
    np.testing.assert_array_equal(arrays["train_images"], expected)
    np.testing.assert_array_equal(arrays["test_images"], some_images(20, seed=20))
    np.testing.assert_array_equal(arrays["test_labels"], some_labels(20))
    assert {array.dtype for array in arrays.values()} == {np.dtype(np.uint8)}


def test_another_pickle_is_not_even_opened(tmp_path: Path) -> None:
    path, _ = make_wheel(tmp_path, published_pickle())
    with pytest.raises(FetchError, match="another SHA-256"):
        read_wheel(path)


@pytest.mark.parametrize("content", [b"", b"\x80\x02", pickle.dumps(3), pickle.dumps((1, 2, 3))])
def test_a_pickle_of_something_else_is_said(tmp_path: Path, content: bytes) -> None:
    path, digest = make_wheel(tmp_path, content)
    with pytest.raises(FetchError, match="the wheel cannot be read"):
        read_wheel(path, pickle_sha256=digest)


def test_an_attack_inside_a_wheel_is_said(tmp_path: Path) -> None:
    attack = pickle.dumps(_Attack(os.mkdir, str(tmp_path / "victim")), protocol=2)
    path, digest = make_wheel(tmp_path, attack)
    with pytest.raises(FetchError, match="mkdir is not allowed"):
        read_wheel(path, pickle_sha256=digest)
    assert not (tmp_path / "victim").exists()
