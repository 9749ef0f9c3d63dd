"""Finds the data: `--data`, else the cache, else the network; verified and decoded once.

For commands. Neither the objective nor a worker needs this: they get the `DataSource` it returns.
It opens no test file, except that what it fetches from the network goes into the cache whole.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np

from search.common.errors import UserError
from search.common.output import complain
from search.data import cache, idx, mnist
from search.data.dataset import DataSource, fingerprint, validation_size
from search.data.mnist import fetch_mnist
from search.data.problem import CLASSES, MNIST

FEWEST_IMAGES = 60  # ten of them validate: less is a mistake, not a data set
TRAINING_SHA256 = {name: mnist.SHA256[name] for name in ("train_images", "train_labels")}


def locate(data: Path | None = None, *, say: Callable[[str], None] = complain) -> DataSource:
    """Find and verify the training data (from a full cache: 60 ms on a 2023 core).

    Args:
        data: A directory of IDX files, which then is the only source; None for MNIST.
        say: Told, a line each, what takes time or was mended. The line that says which source
            served is the result's `description`.

    Raises:
        UserError: The data is missing, damaged, or cannot be fetched.
    """
    return _from_cache(say) if data is None else _from_directory(data, say)


def _from_cache(say: Callable[[str], None]) -> DataSource:
    arrays, folder, origin = restore_mnist(TRAINING_SHA256, say)
    where = f"the cache ({folder})" if origin is None else f"{origin}, now in {folder}"
    images = arrays["train_images"]
    return _describe(images, folder, MNIST, f"MNIST from {where}", mnist.FINGERPRINT, CLASSES, None)


def restore_mnist(
    digests: dict[str, str], say: Callable[[str], None]
) -> tuple[dict[str, mnist.Array], Path, str | None]:
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
        arrays, origin = fetch_mnist(say)
        return arrays, cache.keep(folder, arrays, say), origin


def _from_directory(data: Path, say: Callable[[str], None]) -> DataSource:
    """An IDX directory's training files, decoded into a cache folder named by their contents."""
    data = Path(os.path.abspath(data.expanduser()))
    files = idx.find(data)
    images, labels = idx.read_pair(
        files["train_images"], files["train_labels"], fewest=FEWEST_IMAGES
    )
    arrays = {"train_images": images, "train_labels": labels}
    digests = mnist.digests(arrays)
    is_mnist = not mnist.differing(digests)
    if not is_mnist:
        refuse_damage(files, arrays)
    classes = count_classes(labels, files["train_labels"])
    name = MNIST if is_mnist else _own_name(data)
    identity = fingerprint(images, labels)
    folder = cache.cache_directory() / f"data-{identity[:32]}"
    if cache.problem(folder, digests) is not None:
        with cache.alone(folder, say):
            problem = cache.problem(folder, digests)
            if problem is not None:
                if any(folder.glob("*.npy")):
                    say(f"{problem}: it is decoded anew")
                say(f"decoding {name} into the cache ({folder})")
                folder = cache.keep(folder, arrays, say)
    place = files["train_images"].parent
    description = f"{name} from {place} ({len(images):,} training images)"
    return _describe(images, folder, name, description, identity, classes, place)


def _own_name(data: Path) -> str:
    """A directory's name for what is in it; never that of MNIST, which its contents are not."""
    name = " ".join((data.parent if data.name == "raw" else data).name.split()) or "data"
    return f"altered {MNIST}" if name.casefold() == MNIST.casefold() else name


def count_classes(labels: mnist.Array, file: Path) -> int:
    """How many classes a training file's labels name, from 0 on.

    Raises:
        UserError: If there is but one, one has no image, or one has none to train on.
    """
    images = np.bincount(labels)
    classes = len(images)
    if np.count_nonzero(images) == 1:
        raise UserError(
            f"{file} gives every image the label {classes - 1}: there is nothing to tell apart",
            "Name a directory with two classes at least",
        )
    if empty := np.flatnonzero(images == 0).tolist():
        raise UserError(
            f"{file} has labels up to {classes - 1}, but no image has the label "
            f"{', '.join(map(str, empty))}",
            "Number the classes from 0 without a gap",
        )
    start = len(labels) - validation_size(len(labels))
    if unseen := sorted(set(labels[start:].tolist()) - set(labels[:start].tolist())):
        raise UserError(
            f"{file} has the label {', '.join(map(str, unseen))} among its last "
            f"{len(labels) - start:,} images alone, which validate and are not trained on",
            "Put images and labels into a random order",
        )
    return classes


def _describe(
    images: mnist.Array,
    folder: Path,
    name: str,
    description: str,
    identity: str,
    classes: int,
    place: Path | None,
) -> DataSource:
    mean, std = pixel_statistics(images)
    if std == 0.0:
        raise UserError(f"all pixels of {description} are equal", "Name another directory")
    return DataSource(
        folder=folder,
        name=name,
        description=description,
        fingerprint=identity,
        mean=mean,
        std=std,
        classes=classes,
        idx_folder=place,
    )


def refuse_damage(files: dict[str, Path], arrays: dict[str, mnist.Array]) -> None:
    """Refuse arrays that are a damaged copy of MNIST's; `files` says where each came from.

    Raises:
        UserError: One is.
    """
    for name, array in arrays.items():
        if where := mnist.damage(name, array):
            raise UserError(
                f"{files[name]} is a damaged copy of MNIST's: it differs somewhere in {where}",
                "Copy or download this file again, or leave out --data to have MNIST fetched",
            )


def pixel_statistics(images: mnist.Array) -> tuple[float, float]:
    """Mean and (population) standard deviation of pixel values scaled to [0, 1].

    The sums are of whole numbers below 2**53, so they are exact and equal on every machine.
    """
    pixels = images.reshape(-1)
    total = squares = 0.0
    for start in range(0, pixels.size, 1 << 20):
        part = pixels[start : start + (1 << 20)].astype(np.float64)
        total += float(part.sum())
        squares += float(part @ part)
    mean = total / pixels.size
    return mean / 255, math.sqrt(squares / pixels.size - mean * mean) / 255
