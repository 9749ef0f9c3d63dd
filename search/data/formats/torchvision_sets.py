"""The sets that torchvision fetches and reads, as data sources."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from search.common.errors import UserError
from search.data import cache
from search.data.formats.idx import IdxSet, holds_idx
from search.data.names import KNOWN
from search.data.origin import Labelled, Part, Shape, channels_first, require_like

SILENCE = 30.0  # seconds without a byte after which a server counts as silent
EMNIST = "emnist-"
# Images to train on and to test on, and their shape, as torchvision's documentation has them.
SIZES: dict[str, tuple[int, int, Shape]] = {
    "fashion-mnist": (60_000, 10_000, (1, 28, 28)),
    "kmnist": (60_000, 10_000, (1, 28, 28)),
    "qmnist": (60_000, 10_000, (1, 28, 28)),
    "emnist-balanced": (112_800, 18_800, (1, 28, 28)),
    "emnist-byclass": (697_932, 116_323, (1, 28, 28)),
    "emnist-bymerge": (697_932, 116_323, (1, 28, 28)),
    "emnist-digits": (240_000, 40_000, (1, 28, 28)),
    "emnist-letters": (124_800, 20_800, (1, 28, 28)),
    "emnist-mnist": (60_000, 10_000, (1, 28, 28)),
    "usps": (7_291, 2_007, (1, 16, 16)),
    "svhn": (73_257, 26_032, (3, 32, 32)),
    "cifar10": (50_000, 10_000, (3, 32, 32)),
    "cifar100": (50_000, 10_000, (3, 32, 32)),
}
APART = ("usps", "svhn", "qmnist")  # whose test images are files of their own, fetched when wanted
DEBIAN = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}  # dataset-fashion-mnist
OTHERWISE = "or name a directory or file that holds it with --data"


@dataclass(frozen=True, kw_only=True)
class TorchvisionSet:
    """A set by its name in ``names.KNOWN``; see ``origin.Origin``.

    Of QMNIST's 60,000 test images the first 10,000 serve, those that MNIST's test file has: results
    on both then compare. Of SVHN the extra images are left out.
    """

    key: str

    @property
    def name(self) -> str:
        """As it is shown."""
        return KNOWN[self.key]

    @property
    def place(self) -> str:
        """Where it lies."""
        debian = self._debian()
        return f"from {debian if debian else self._folder('train')}"

    def fetch(self, say: Callable[[str], None]) -> None:
        """Download the training part; of most sets the test part comes along, unread."""
        self._fetched("train", say)

    def files(self) -> list[Path]:
        """All that was fetched for training."""
        there = self._debian() or self._folder("train")
        return sorted(path for path in there.rglob("*") if path.is_file())

    def has(self, part: Part) -> bool:
        """None of them has a validation part of its own."""
        return part != "val"

    def missing_test(self) -> UserError:
        """Never is."""
        raise AssertionError

    def shape(self, part: Part) -> tuple[int, Shape]:
        """As it is known."""
        train, test, shape = SIZES[self.key]
        return (test if part == "test" else train), shape

    def read(self, part: Part, like: Shape, say: Callable[[str], None]) -> Labelled:
        """By torchvision's own class."""
        self._fetched(part, say)
        if debian := self._debian():
            found = IdxSet(directory=debian).read(part, like, say)
            with _one_line(
                f"{self.name}'s class names cannot be had", f"Mend torchvision, {OTHERWISE}"
            ):
                return replace(found, class_names=self._classes(None))
        folder = self._folder(part)
        anew = f"Delete {folder}, so that it is fetched anew, {OTHERWISE}"
        with _one_line(f"{self.name} in {folder} cannot be read", anew):
            loaded = self._load(part, folder, download=False)
        images, labels = self._decoded(loaded)
        return Labelled(
            images=require_like(images, like, f"{self.name}'s {part} part"),
            labels=labels,
            class_names=self._classes(loaded),
            where=f"{self.name}'s {part} part",
            images_where=f"{self.name}'s {part} part",
        )

    def _folder(self, part: Part) -> Path:
        apart = part if self.key in APART else "all"
        return cache.cache_directory() / "torchvision" / f"{self.key}-{apart}"

    def _debian(self) -> Path | None:
        """Where Debian's package has the set, if torchvision has not fetched it."""
        folder = DEBIAN.get(self.key)
        if folder is None or self._folder("train").is_dir():
            return None
        return folder if holds_idx(folder) else None

    def _fetched(self, part: Part, say: Callable[[str], None]) -> None:
        """Have a part here: downloaded aside and put into its place when it is whole."""
        folder = self._folder(part)
        if folder.is_dir() or self._debian():
            return
        with cache.alone(folder, say):
            if folder.is_dir():
                return
            say(f"fetching {self.name} into {folder}")
            aside = folder.with_name(f"{folder.name}.{uuid.uuid4().hex}.tmp")
            try:
                with _one_line(f"{self.name} cannot be fetched", f"Try again, {OTHERWISE}"):
                    cache.make(aside)
                    self._load(part, aside, download=True)
                    _put(aside, folder)
            finally:
                shutil.rmtree(aside, ignore_errors=True)

    def _load(self, part: Part, root: Path, *, download: bool) -> Any:
        from torchvision import datasets

        train = part == "train"
        if self.key.startswith(EMNIST):
            split = self.key.removeprefix(EMNIST)
            return datasets.EMNIST(root, split=split, train=train, download=download)
        if self.key == "svhn":
            return datasets.SVHN(root, split="train" if train else "test", download=download)
        if self.key == "qmnist":
            return datasets.QMNIST(root, what="train" if train else "test10k", download=download)
        kinds = {
            "fashion-mnist": datasets.FashionMNIST,
            "kmnist": datasets.KMNIST,
            "usps": datasets.USPS,
            "cifar10": datasets.CIFAR10,
            "cifar100": datasets.CIFAR100,
        }
        return kinds[self.key](root, train=train, download=download)

    def _decoded(self, loaded: Any) -> tuple[np.ndarray, np.ndarray]:
        """Images ``[N, C, H, W]`` uint8 and labels ``[N]`` from 0."""
        raw = np.asarray(loaded.data)
        labels = np.asarray(loaded.labels if self.key == "svhn" else loaded.targets)
        labels = (labels[:, 0] if labels.ndim == 2 else labels).astype(np.int64)
        if self.key.startswith(EMNIST):
            raw = raw.transpose(0, 2, 1)  # its figures lie on their sides
        if self.key == "emnist-letters":
            labels = labels - 1  # they are counted from 1
        images = np.ascontiguousarray(channels_first(raw, self.name)).astype(np.uint8, copy=False)
        return images, labels

    def _classes(self, loaded: Any) -> tuple[str, ...] | None:
        """The names that torchvision has for the classes; numbers where it has none."""
        if loaded is None:
            from torchvision import datasets

            loaded = datasets.FashionMNIST
        names = [str(name).partition(" - ")[0] for name in getattr(loaded, "classes", ())]
        names = [name for name in names if name != "N/A"]  # EMNIST's letters have no class 0
        return tuple(names) or None


@contextlib.contextmanager
def _one_line(what: str, hint: str) -> Iterator[None]:
    """What goes wrong inside of torchvision, in one line; it talks of its steps, too.

    Args:
        what: Fails, in words that the reason follows.
        hint: What to do then.
    """
    before = socket.getdefaulttimeout()
    quiet = io.StringIO()
    try:
        socket.setdefaulttimeout(SILENCE)
        with contextlib.redirect_stdout(quiet), contextlib.redirect_stderr(quiet):
            yield
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        reason = reason.partition(" You can use download=True")[0]  # which is no option of ours
        raise UserError(f"{what} ({reason})", hint) from error
    finally:
        socket.setdefaulttimeout(before)


def _put(aside: Path, folder: Path) -> None:
    """Bring what is whole to its place, where another process may have been first."""
    try:
        os.replace(aside, folder)
    except OSError:  # where no lock can be had, or it was waited for too long
        if not folder.is_dir():
            raise
