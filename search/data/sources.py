"""Finds the data: what `--data` names, else MNIST; verified, decoded and arranged once.

For commands. Neither the objective nor a worker needs this: they get the `DataSource` it returns.
It opens no test images, except that what it fetches from the network goes into the cache whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import numpy as np

from search.common.errors import UserError
from search.common.output import complain
from search.data import cache, index, memory, splits
from search.data.dataset import Arrays, DataSource, fingerprint
from search.data.formats import mnist_bytes
from search.data.formats.finding import find
from search.data.formats.mnist_set import TRAINING_SHA256, MnistSet, restore_mnist
from search.data.names import MNIST, set_or_path
from search.data.origin import Bytes, Labelled, Origin
from search.data.problem import MNIST_PROBLEM, ImageSize, numbered, pixels_in_words

FEWEST_IMAGES = 60  # ten of them validate: less is a mistake, not a data set


def locate(
    data: str | Path | None = None,
    *,
    image_size: ImageSize | None = None,
    workers: int = 1,
    say: Callable[[str], None] = complain,
) -> DataSource:
    """Find and verify the training data (MNIST from a full cache: 60 ms on a 2023 core).

    Args:
        data: A known set's name, or a path, which then is the only source; None for MNIST.
        image_size: What all images are brought to; None leaves them as they are.
        workers: So many processes will hold the images at once.
        say: Told, a line each, what takes time or was mended. The line that says which source
            served is the result's `description`.

    Raises:
        UserError: The data is missing, damaged, does not fit into memory or cannot be fetched.
    """
    named = set_or_path(data)
    if named == "mnist" and image_size in (None, MNIST_PROBLEM.image_size):
        return _mnist(say)
    origin = find(named, image_size)
    origin.fetch(say)
    state = index.State(origin)
    known = index.recall(state, origin)
    if known is None:
        with cache.alone(state.file, say):
            known = index.recall(state, origin)  # another process may have decoded it
            if known is None:
                source, digests = _decode(origin, workers, say)
                index.remember(state, source, digests)
                return source
    memory.require(known.nbytes, workers, _holders(known, workers), _fewer(workers))
    return known


def _holders(source: DataSource, workers: int) -> str:
    images = source.train_images + source.validation_images
    each = f" in each of {workers:,} workers" if workers > 1 else ""
    return f"the {images:,} training images of {source.name}{each}"


def _fewer(workers: int) -> str:
    return "Give fewer --workers. " if workers > 1 else ""


def _mnist(say: Callable[[str], None]) -> DataSource:
    arrays, folder, fetched_from = restore_mnist(TRAINING_SHA256, say)
    origin = MnistSet(folder=folder)
    where = origin.place if fetched_from is None else f"from {fetched_from}, now in {folder}"
    found = arrays["train_images"], arrays["train_labels"]
    return _describe(
        found,
        origin,
        folder,
        MNIST,
        f"{MNIST} {where}",
        mnist_bytes.VALIDATION,
        splits.MNISTS,
        numbered(10),
    )


def _decode(
    origin: Origin, workers: int, say: Callable[[str], None]
) -> tuple[DataSource, dict[str, str]]:
    """Decode, check, arrange and cache a data source; also gives the arrays' digests."""
    count, like = origin.shape("train")
    own_validation = origin.has("val")
    of_validation = origin.shape("val")[0] if own_validation else 0
    if count + of_validation < FEWEST_IMAGES:
        raise UserError(
            f"{origin.name} {origin.place} has {count + of_validation:,} training images, fewer "
            f"than {FEWEST_IMAGES}",
            "Name data with more images",
        )
    held = (count + of_validation) * (math.prod(like) + 8)
    what = f"the {count + of_validation:,} training images of {origin.name}"
    memory.require(held, 2, f"{what}, which are held twice while they are decoded,")
    if workers > 2:
        memory.require(held, workers, f"{what} in each of {workers:,} workers", _fewer(workers))
    say(f"decoding {what}")
    train = origin.read("train", like, say)
    shape = (train.images.shape[1], train.images.shape[2], train.images.shape[3])
    validation = origin.read("val", shape, say) if own_validation else None
    names = splits.class_names(train, validation)
    if validation is None and mnist_bytes.is_training_file(train):
        name, rule, kept = MNIST, splits.MNISTS, mnist_bytes.VALIDATION
        arrays: Arrays = (train.images[:, 0], train.labels.astype(np.uint8))
        names = numbered(10)
    else:
        name, arrays, kept, rule = origin.name, *_arranged(train, validation, len(names))
    splits.require_two(arrays[1], kept, names, train.where)
    identity = fingerprint(*arrays)
    stored = {"train_images": arrays[0], "train_labels": arrays[1]}
    digests = cache.digests(stored)
    folder = index.folder_of(identity)
    if cache.problem(folder, digests) is not None:
        with cache.alone(folder, say):
            problem = cache.problem(folder, digests)
            if problem is not None:
                if any(folder.glob("*.npy")):
                    say(f"{problem}: it is written anew")
                folder = cache.keep(folder, stored, say)
    description = (
        f"{name} {origin.place} ({counted_images(len(arrays[1]))}, {pixels_in_words(shape)}, "
        f"{len(names):,} classes)"
    )
    return _describe(arrays, origin, folder, name, description, kept, rule, names), digests


def counted_images(count: int) -> str:
    """``1,200 training images``: those that validate are among them."""
    return f"{count:,} training images"


def _arranged(
    train: Labelled, validation: Labelled | None, classes: int
) -> tuple[Arrays, int, str]:
    """Both parts in one pair of arrays; how many images at their end validate, and by what rule."""
    order = splits.stratified_order(train.labels)
    images, labels = train.images[order], train.labels[order]
    rule, kept = splits.STRATIFIED, splits.validation_size(len(labels))
    if validation is not None:
        images = np.concatenate([images, validation.images])
        labels = np.concatenate([labels, validation.labels])
        rule, kept = splits.AS_GIVEN, len(validation.labels)
    return (
        (np.ascontiguousarray(images), labels.astype(np.uint8 if classes <= 256 else np.uint16)),
        kept,
        rule,
    )


def _describe(
    arrays: Arrays,
    origin: Origin,
    folder: Path,
    name: str,
    description: str,
    kept: int,
    rule: str,
    names: tuple[str, ...],
) -> DataSource:
    images, labels = arrays
    channels = images if images.ndim == 4 else images[:, None]
    mean, std = pixel_statistics(channels)
    if 0.0 in std:
        flat = "all pixels" if len(std) == 1 else "all pixels of a channel"
        raise UserError(f"{flat} of {description} are equal", "Name other data")
    return DataSource(
        folder=folder,
        name=name,
        description=description,
        fingerprint=mnist_bytes.FINGERPRINT if name == MNIST else fingerprint(images, labels),
        mean=mean,
        std=std,
        input_shape=(channels.shape[1], channels.shape[2], channels.shape[3]),
        class_names=names,
        class_images=tuple(np.bincount(labels, minlength=len(names)).tolist()),
        train_images=len(labels) - kept,
        validation_images=kept,
        split=rule,
        origin=origin,
    )


def pixel_statistics(images: Bytes) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and (population) standard deviation of each channel's pixels scaled to [0, 1].

    The sums are of whole numbers below 2**53, so they are exact and equal on every machine.

    Args:
        images: ``[N, C, H, W]``.
    """
    count = images.size // images.shape[1]
    total = np.zeros(images.shape[1])
    squares = np.zeros(images.shape[1])
    step = max(1, (1 << 20) // max(1, images[0].size))
    for start in range(0, len(images), step):
        part = images[start : start + step].astype(np.float64)
        total += part.sum(axis=(0, 2, 3))
        squares += np.einsum("nchw,nchw->c", part, part)
    mean = total / count
    std = [math.sqrt(s / count - m * m) for s, m in zip(squares, mean, strict=True)]
    return tuple((mean / 255).tolist()), tuple(value / 255 for value in std)
