"""torchvision's own classes, fetching small files in the real formats from a local server."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import pickle
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
from torchvision import datasets

from search.common.errors import UserError
from search.data.dataset import load_whole
from search.data.formats import torchvision_sets
from search.data.names import KNOWN
from search.data.sources import locate
from search.data.splits import stratified_order
from search.data.testset import load_test
from tests.data.test_mnist_mirrors import mirror
from tests.helpers.idx_files import idx_bytes

TRAIN, TEST = 120, 30
Serve = Callable[[str], tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]]


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(torchvision_sets, "DEBIAN", {})
    return tmp_path / "cache"


@pytest.fixture
def web(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    (tmp_path / "web").mkdir()
    with mirror(tmp_path / "web") as url:
        yield tmp_path / "web", url.rstrip("/") + "/"


def md5(content: bytes) -> str:
    return hashlib.md5(content).hexdigest()


def made(shape: tuple[int, ...], classes: int, count: int, seed: int) -> tuple[Any, Any]:
    images = np.random.default_rng(seed).integers(0, 256, (count, *shape), dtype=np.uint8)
    return images, (np.arange(count) % classes).astype(np.uint8)


def put(folder: Path, name: str, content: bytes) -> str:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    return md5(content)


@pytest.fixture
def serve(web: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> Serve:
    """Puts a set of synthetic images onto the server and points torchvision's class there."""
    folder, url = web

    def idx(prefix: str, stems: tuple[str, str, str, str], arrays: tuple[Any, ...]) -> list[Any]:
        names = [f"{prefix}{stem}.gz" for stem in stems]
        sums = [
            put(folder, name, gzip.compress(idx_bytes(array)))
            for name, array in zip(names, arrays, strict=True)
        ]
        return list(zip(names, sums, strict=True))

    stems = (
        *("train-images-idx3-ubyte", "train-labels-idx1-ubyte"),
        *("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"),
    )

    def go(key: str) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        shape = {"usps": (16, 16), "svhn": (32, 32, 3)}.get(key, (28, 28))
        shape = (3, 32, 32) if key.startswith("cifar") else shape
        classes = 26 if key == "emnist-letters" else 10
        x, y = made(shape, classes, TRAIN, 1)
        x_test, y_test = made(shape, classes, TEST, 2)
        if key in ("fashion-mnist", "kmnist"):
            kind: Any = datasets.FashionMNIST if key == "fashion-mnist" else datasets.KMNIST
            monkeypatch.setattr(kind, "mirrors", [url])
            monkeypatch.setattr(kind, "resources", idx("", stems, (x, y, x_test, y_test)))
        elif key == "qmnist":
            resources = {}
            for part, images, labels in (("train", x, y), ("test", x_test, y_test)):
                wide = np.zeros((len(labels), 8), dtype=">i4")
                wide[:, 0] = labels
                header = bytes((0, 0, 12, 2)) + np.array(wide.shape, ">u4").tobytes()
                resources[part] = [
                    (f"{url}{name}", put(folder, name, gzip.compress(content)))
                    for name, content in (
                        (f"q-{part}-images-idx3-ubyte.gz", idx_bytes(images)),
                        (f"q-{part}-labels-idx2-int.gz", header + wide.tobytes()),
                    )
                ]
            monkeypatch.setattr(datasets.QMNIST, "resources", resources)
        elif key == "emnist-letters":
            packed = io.BytesIO()
            with zipfile.ZipFile(packed, "w") as archive:
                for part, images, labels in (("train", x, y + 1), ("test", x_test, y_test + 1)):
                    turned = np.ascontiguousarray(images.transpose(0, 2, 1))
                    for name, array in (("images-idx3", turned), ("labels-idx1", labels)):
                        file = f"gzip/emnist-letters-{part}-{name}-ubyte.gz"
                        archive.writestr(file, gzip.compress(idx_bytes(array)))
            monkeypatch.setattr(datasets.EMNIST, "md5", put(folder, "e.zip", packed.getvalue()))
            monkeypatch.setattr(datasets.EMNIST, "url", f"{url}e.zip")
        elif key == "usps":
            lists = {}
            for part, images, labels in (("train", x, y), ("test", x_test, y_test)):
                lines = [
                    f"{label + 1} "
                    + " ".join(f"{i + 1}:{v / 255 * 2 - 1:.6f}" for i, v in enumerate(im.ravel()))
                    for im, label in zip(images, labels, strict=True)
                ]
                content = bz2.compress("\n".join(lines).encode())
                name = f"usps-{part}.bz2"
                lists[part] = [f"{url}{name}", name, put(folder, name, content)]
            monkeypatch.setattr(datasets.USPS, "split_list", lists)
        elif key == "svhn":
            lists = {}
            for part, images, labels in (("train", x, y), ("test", x_test, y_test)):
                matlab = io.BytesIO()
                tens = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
                scipy.io.savemat(matlab, {"X": images.transpose(1, 2, 3, 0), "y": tens})
                name = f"{part}_32x32.mat"
                lists[part] = [f"{url}{name}", name, put(folder, name, matlab.getvalue())]
            monkeypatch.setattr(datasets.SVHN, "split_list", lists)
            x, x_test = x.transpose(0, 3, 1, 2), x_test.transpose(0, 3, 1, 2)
        else:
            assert key == "cifar10"
            packed, sums = io.BytesIO(), {}
            with tarfile.open(fileobj=packed, mode="w:gz") as archive:
                contents = {
                    "data_batch_1": {"data": x.reshape(TRAIN, -1), "labels": y.tolist()},
                    "test_batch": {"data": x_test.reshape(TEST, -1), "labels": y_test.tolist()},
                    "batches.meta": {"label_names": [f"thing {i}" for i in range(10)]},
                }
                for name, batch in contents.items():
                    pickled = pickle.dumps(batch)
                    entry = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
                    entry.size = len(pickled)
                    archive.addfile(entry, io.BytesIO(pickled))
                    sums[name] = md5(pickled)
            monkeypatch.setattr(
                datasets.CIFAR10, "tgz_md5", put(folder, "c.tar.gz", packed.getvalue())
            )
            monkeypatch.setattr(datasets.CIFAR10, "url", f"{url}c.tar.gz")
            monkeypatch.setattr(datasets.CIFAR10, "filename", "c.tar.gz")
            first = ["data_batch_1", sums["data_batch_1"]]
            monkeypatch.setattr(datasets.CIFAR10, "train_list", [first])
            last = ["test_batch", sums["test_batch"]]
            monkeypatch.setattr(datasets.CIFAR10, "test_list", [last])
            meta = {
                "filename": "batches.meta",
                "key": "label_names",
                "md5": sums["batches.meta"],
            }
            monkeypatch.setattr(datasets.CIFAR10, "meta", meta)
        grey = x.ndim == 3
        return (x[:, None] if grey else x), y, (x_test[:, None] if grey else x_test), y_test

    return go


KINDS = {
    "fashion-mnist": ("Ankle boot", False),
    "kmnist": ("wo", True),
    "qmnist": ("9", True),
    "emnist-letters": ("z", True),
    "usps": ("9", True),
    "svhn": ("9", False),
    "cifar10": ("thing 9", False),
}


@pytest.mark.parametrize("key", KINDS)
def test_a_set_is_fetched_once_and_read_as_torchvision_reads_it(
    key: str, serve: Serve, web: tuple[Path, str]
) -> None:
    x, y, x_test, y_test = serve(key)
    said: list[str] = []
    source = locate(key, say=said.append)
    assert source.name == KNOWN[key]
    assert sum("fetching" in line for line in said) == 1
    order = stratified_order(y)
    whole = load_whole(source)
    tolerance = 1 if key == "usps" else 0  # whose file has six digits
    np.testing.assert_allclose(whole.images.astype(int), x[order].astype(int), atol=tolerance)
    np.testing.assert_array_equal(whole.labels, y[order])
    from search.data.problem import problem_of

    last, handwriting = KINDS[key]
    assert source.class_names[-1] == last
    assert problem_of(source).handwriting == handwriting
    if key not in torchvision_sets.APART:
        for file in web[0].iterdir():
            file.unlink()  # all of it is here
    test = load_test(source, say=said.append)
    np.testing.assert_allclose(test.images.astype(int), x_test.astype(int), atol=tolerance)
    np.testing.assert_array_equal(test.labels, y_test)
    for file in web[0].iterdir():
        file.unlink()
    assert locate(key, say=print).fingerprint == source.fingerprint


@pytest.mark.parametrize("key", ["kmnist", "usps", "cifar10"])
@pytest.mark.parametrize("what", ["nothing", "half", "other bytes"])
def test_what_cannot_be_fetched_is_one_line_and_the_next_try_is_a_fresh_one(
    key: str, what: str, serve: Serve, web: tuple[Path, str], empty_cache: Path
) -> None:
    serve(key)
    there = {file: file.read_bytes() for file in web[0].rglob("*") if file.is_file()}
    for file, content in there.items():
        if what == "nothing":
            file.unlink()
        else:
            half = content[: len(content) // 2]
            file.write_bytes(half if what == "half" else half + b"x" * (len(content) - len(half)))
    with pytest.raises(UserError, match=f"{KNOWN[key]} cannot be fetched") as raised:
        locate(key, say=lambda line: None)
    assert "\n" not in str(raised.value) and "--data" in str(raised.value)
    assert not [path for path in (empty_cache / "torchvision").iterdir() if path.is_dir()]
    for file, content in there.items():
        file.write_bytes(content)
    assert locate(key, say=lambda line: None).classes == 10


def test_debians_package_serves_where_it_is_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.helpers.idx_files import write_dataset

    folder = write_dataset(tmp_path / "debian", zipped=True)
    monkeypatch.setattr(torchvision_sets, "DEBIAN", {"fashion-mnist": folder})
    source = locate("fashion-mnist", say=lambda line: None)
    assert (source.name, source.class_names[0]) == ("Fashion-MNIST", "T-shirt/top")
    assert len(load_test(source)) == 30


def test_every_known_name_has_its_size() -> None:
    assert {"mnist", *torchvision_sets.SIZES} == set(KNOWN)
