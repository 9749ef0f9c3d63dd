"""A local server with small sets in the real formats, where torchvision's classes are pointed."""

from __future__ import annotations

import bz2
import functools
import gzip
import hashlib
import http.server
import io
import pickle
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import scipy.io
from torchvision import datasets

from tests.helpers.data.idx_files import idx_bytes

TRAIN, TEST = 300, 30
CLASSES = {"emnist-letters": 26, "emnist-balanced": 47, "cifar100": 100}  # 10 elsewhere


class Made(NamedTuple):
    """What a set's parts hold, ``[N, C, H, W]`` and from 0."""

    images: np.ndarray
    labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    @property
    def parts(self) -> list[tuple[str, np.ndarray, np.ndarray]]:
        return [
            ("train", self.images, self.labels),
            ("test", self.test_images, self.test_labels),
        ]


class Web:
    """What the server serves, how it fails, and what it was asked for."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.folder, self.patch = folder, patch
        self.url = ""
        self.fails = ""  # "missing", "breaks off", "other bytes" or "silent"
        self.asked: list[str] = []
        self.over = threading.Event()

    def put(self, name: str, content: bytes) -> str:
        (self.folder / name).write_bytes(content)
        return hashlib.md5(content).hexdigest()

    def serve(self, key: str, test_count: int = TEST) -> Made:
        """Put a synthetic set there, and point torchvision's class for it at it."""
        side, channels = {"usps": (16, 1)}.get(key, (28, 1))
        if key in ("svhn", "cifar10", "cifar100"):
            side, channels = 32, 3
        draw = np.random.default_rng(1).integers
        arrays: list[np.ndarray] = []
        for count in (TRAIN, test_count):
            arrays.append(draw(0, 256, (count, channels, side, side), dtype=np.uint8))
            arrays.append((np.arange(count) % CLASSES.get(key, 10)).astype(np.uint8))
        made = Made(*arrays)
        family = {"fashion-mnist": "mnist", "kmnist": "mnist"}.get(key, key.split("-")[0])
        getattr(self, f"_{family.rstrip('10')}")(key, made)
        return made

    def _set(self, kind: type, **attributes: Any) -> None:
        for name, value in attributes.items():
            assert hasattr(kind, name)
            self.patch.setattr(kind, name, value)

    def _mnist(self, key: str, made: Made) -> None:
        resources = []
        for part, images, labels in made.parts:
            stem = "train" if part == "train" else "t10k"
            for kind, array in (("images-idx3", images[:, 0]), ("labels-idx1", labels)):
                name = f"{stem}-{kind}-ubyte.gz"
                resources.append((name, self.put(name, gzip.compress(idx_bytes(array)))))
        of = datasets.FashionMNIST if key == "fashion-mnist" else datasets.KMNIST
        self._set(of, mirrors=[self.url], resources=resources)

    def _qmnist(self, key: str, made: Made) -> None:
        resources = {}
        for part, images, labels in made.parts:
            wide = np.full((len(labels), 8), 77, dtype=">i4")  # writers, and what else is told
            wide[:, 0] = labels
            header = bytes((0, 0, 12, 2)) + np.array(wide.shape, ">u4").tobytes()
            resources[part] = [
                (f"{self.url}{name}", self.put(name, gzip.compress(content, compresslevel=1)))
                for name, content in (
                    (f"qmnist-{part}-images-idx3-ubyte.gz", idx_bytes(images[:, 0])),
                    (f"qmnist-{part}-labels-idx2-int.gz", header + wide.tobytes()),
                )
            ]
        self._set(datasets.QMNIST, resources=resources)

    def _emnist(self, key: str, made: Made) -> None:
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for part, images, labels in made.parts:
                turned = np.ascontiguousarray(images[:, 0].transpose(0, 2, 1))
                counted = labels + 1 if key == "emnist-letters" else labels
                for kind, array in (("images-idx3", turned), ("labels-idx1", counted)):
                    file = f"gzip/{key}-{part}-{kind}-ubyte.gz"
                    archive.writestr(file, gzip.compress(idx_bytes(array)))
        md5 = self.put("gzip.zip", packed.getvalue())
        self._set(datasets.EMNIST, url=f"{self.url}gzip.zip", md5=md5)

    def _usps(self, key: str, made: Made) -> None:
        lists = {}
        for part, images, labels in made.parts:
            scaled = images.reshape(len(images), -1) / 255 * 2 - 1
            lines = [
                " ".join([str(label + 1), *(f"{i}:{v:.6f}" for i, v in enumerate(row, 1))])
                for row, label in zip(scaled, labels, strict=True)
            ]
            name = f"usps-{part}.bz2"
            md5 = self.put(name, bz2.compress("\n".join(lines).encode()))
            lists[part] = [f"{self.url}{name}", name, md5]
        self._set(datasets.USPS, split_list=lists)

    def _svhn(self, key: str, made: Made) -> None:
        lists = {}
        for part, images, labels in made.parts:
            matlab = io.BytesIO()
            tens = np.where(labels == 0, 10, labels).astype(np.uint8)[:, None]
            scipy.io.savemat(matlab, {"X": images.transpose(2, 3, 1, 0), "y": tens})
            name = f"{part}_32x32.mat"
            lists[part] = [f"{self.url}{name}", name, self.put(name, matlab.getvalue())]
        self._set(datasets.SVHN, split_list=lists)

    def _cifar(self, key: str, made: Made) -> None:
        kind: Any = datasets.CIFAR10 if key == "cifar10" else datasets.CIFAR100
        fine = "labels" if key == "cifar10" else "fine_labels"
        flat = made.images.reshape(TRAIN, -1)  # all red, then all green, then all blue
        contents: dict[str, dict[str, Any]] = {
            "first": {"data": flat[:200], fine: made.labels[:200].tolist()},
            "second": {"data": flat[200:], fine: made.labels[200:].tolist()},
            "test": {
                "data": made.test_images.reshape(len(made.test_images), -1),
                fine: made.test_labels.tolist(),
            },
            "meta": {"names": [f"thing {i}" for i in range(CLASSES.get(key, 10))]},
        }
        packed, sums = io.BytesIO(), {}
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name, batch in contents.items():
                pickled = pickle.dumps(batch)
                entry = tarfile.TarInfo(f"{kind.base_folder}/{name}")
                entry.size = len(pickled)
                archive.addfile(entry, io.BytesIO(pickled))
                sums[name] = hashlib.md5(pickled).hexdigest()
        self._set(
            kind,
            url=f"{self.url}c.tar.gz",
            filename="c.tar.gz",
            tgz_md5=self.put("c.tar.gz", packed.getvalue()),
            train_list=[[name, sums[name]] for name in ("first", "second")],
            test_list=[["test", sums["test"]]],
            meta={"filename": "meta", "key": "names", "md5": sums["meta"]},
        )


class _Handler(http.server.BaseHTTPRequestHandler):
    def __init__(self, web: Web, *rest: Any) -> None:
        self.web = web
        super().__init__(*rest)

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        self.web.asked.append(self.path)
        file = self.web.folder / self.path.lstrip("/")
        if self.web.fails == "missing" or not file.is_file():
            self.send_error(404)
            return
        content = file.read_bytes()
        half = len(content) // 2
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.web.fails == "other bytes":
            content = content[:half] + bytes(len(content) - half)
        self.wfile.write(content[:half] if self.web.fails in ("breaks off", "silent") else content)
        if self.web.fails == "silent":
            self.web.over.wait(20)  # so that a client without a limit fails, not hangs


@contextmanager
def serving(folder: Path, patch: pytest.MonkeyPatch) -> Iterator[Web]:
    """A server that runs meanwhile; nothing is there yet."""
    folder.mkdir()
    web = Web(folder, patch)
    patch.setenv("no_proxy", "127.0.0.1")
    patch.setattr("urllib.request._opener", None)  # it keeps the proxies of its first use
    handler = functools.partial(_Handler, web)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        web.url = f"http://127.0.0.1:{server.server_port}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield web
        finally:
            web.over.set()
            server.shutdown()
            thread.join()
