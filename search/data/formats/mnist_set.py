"""MNIST in the cache, as a data source; fetched where it is missing or damaged."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search.common.errors import UserError
from search.data import cache
from search.data.formats import mnist_bytes
from search.data.mnist import fetch_mnist
from search.data.names import MNIST
from search.data.origin import Labelled, Part, Shape

TRAINING_SHA256 = {name: mnist_bytes.SHA256[name] for name in ("train_images", "train_labels")}
TEST_SHA256 = {name: mnist_bytes.SHA256[name] for name in ("test_images", "test_labels")}


def restore_mnist(
    digests: Mapping[str, str], say: Callable[[str], None]
) -> tuple[dict[str, cache.Array], Path, str | None]:
    """Have MNIST in the cache, fetched where an array that `digests` names is missing or damaged.

    Returns:
        The arrays, their folder, and the source they were fetched from: None where all was well.
    """
    folder = cache.cache_directory() / "mnist"
    with contextlib.suppress(cache.Damaged):
        return cache.load(folder, digests), folder, None
    with cache.alone(folder, say):
        try:
            return cache.load(folder, digests), folder, None  # another process has filled it
        except cache.Damaged as error:
            if any(folder.glob("*.npy")):
                say(f"{error}: MNIST is fetched anew")
        arrays, fetched_from = fetch_mnist(say)
        return arrays, cache.keep(folder, arrays, say), fetched_from


@dataclass(frozen=True, kw_only=True)
class MnistSet:
    """See ``origin.Origin``."""

    folder: Path | None = None  # where its arrays are; None: where the cache is

    @property
    def name(self) -> str:
        """Its own."""
        return MNIST

    @property
    def place(self) -> str:
        """Where it lies."""
        return f"from the cache ({self.folder or cache.cache_directory() / 'mnist'})"

    def fetch(self, say: Callable[[str], None]) -> None:
        """Verify it, and mend what is damaged."""
        restore_mnist(TRAINING_SHA256, say)

    def files(self) -> list[Path]:
        """None: what is in the cache is known by its digests."""
        return []

    def has(self, part: Part) -> bool:
        """Its training file has no validation part of its own."""
        return part != "val"

    def missing_test(self) -> UserError:
        """Never is."""
        raise AssertionError

    def shape(self, part: Part) -> tuple[int, Shape]:
        """As it is known."""
        count, height, width = mnist_bytes.SHAPES[f"{part}_images"]
        return count, (1, height, width)

    def read(self, part: Part, like: Shape, say: Callable[[str], None]) -> Labelled:
        """Of the folder, else of the cache or from where it is fetched."""
        digests = TEST_SHA256 if part == "test" else TRAINING_SHA256
        try:
            arrays = cache.load(self.folder or cache.cache_directory() / "mnist", digests)
        except cache.Damaged:
            arrays = restore_mnist(digests, say)[0]
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        return Labelled(
            images=images[:, None],
            labels=labels.astype(np.int64),
            class_names=None,
            where=MNIST,
            images_where=MNIST,
        )
