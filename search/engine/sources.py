"""Finds the data: `--data`, else the cache, else the network; verified and decoded once.

For commands. Neither the objective nor a worker needs this: they get the `DataSource` it returns.
It opens no test file, except that what it fetches from the network goes into the cache whole.
"""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

from search.engine import cache, idx, mnist
from search.engine.dataset import DataSource, fingerprint
from search.engine.errors import UserError
from search.engine.fetch import fetch_mnist

FEWEST_IMAGES = 60  # ten of them validate: less is a mistake, not a data set
TRAINING_SHA256 = {name: mnist.SHA256[name] for name in ("train_images", "train_labels")}


def to_stderr(line: str) -> None:
    """Print a line where it does not mix with a command's results."""
    print(line, file=sys.stderr, flush=True)


def locate(data: Path | None = None, *, say: Callable[[str], None] = to_stderr) -> DataSource:
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
    return _describe(images, folder, "MNIST", f"MNIST from {where}", mnist.FINGERPRINT, None)


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
    is_mnist = not mnist.deviations(digests)
    if not is_mnist:
        refuse_damage(files, arrays)
    name = "MNIST" if is_mnist else _own_name(data)
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
    return _describe(images, folder, name, description, identity, place)


def _own_name(data: Path) -> str:
    """A directory's name for what is in it; never that of MNIST, which its contents are not."""
    name = (data.parent if data.name == "raw" else data).name or "data"
    return "altered MNIST" if name.casefold() == "mnist" else name


def _describe(
    images: mnist.Array,
    folder: Path,
    name: str,
    description: str,
    identity: str,
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
