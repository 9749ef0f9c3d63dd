"""The training file's images as two splits, from a folder of decoded arrays.

All that a search may see of the data. `sources.locate` finds, checks and decodes the data and names
it by a `DataSource`; the test file is opened by `testset` alone, which nothing here imports.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search.common.errors import UserError
from search.data import cache

LARGEST_VALIDATION = 10_000  # the classical split of MNIST's training file: 50,000 / 10,000

Bytes = npt.NDArray[np.uint8]
Arrays = tuple[Bytes, Bytes]  # a training file's images, [N, 28, 28], and labels, [N]


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where decoded and verified data lies: small, picklable, handed to the workers.

    The mean and the standard deviation are those of the whole training file, of pixel values
    scaled to [0, 1].
    """

    folder: Path  # holds train_images.npy and train_labels.npy
    name: str  # "MNIST" when the digests match, else the data directory's name
    description: str  # one line that says which source served
    fingerprint: str  # SHA-256 of the training images' bytes followed by the labels' bytes
    mean: float
    std: float
    classes: int = 10  # labels go from 0 to one less
    idx_folder: Path | None = None  # where `--data` found IDX files; None: MNIST from the cache
    arrays: Arrays | None = field(default=None, repr=False, compare=False)  # in place of the folder


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Images and their labels, in the order of the file.

    The images are read-only: copy them before a library gets them that wants to write.
    """

    images: npt.NDArray[np.uint8]  # [N, 28, 28]
    labels: npt.NDArray[np.int64]  # [N], from 0 to one less than the classes

    def __len__(self) -> int:
        return len(self.labels)


def validation_size(images: int) -> int:
    """How many of a training file's images validate: a sixth, at most 10,000 (MNIST's case)."""
    return min(LARGEST_VALIDATION, images // 6)


def load_training(source: DataSource) -> tuple[Split, Split]:
    """The training split and the validation split, of the training file both.

    The last `validation_size(N)` of the file's N images validate: MNIST's last 10,000.

    Raises:
        UserError: The decoded files are gone or were changed.
    """
    images, raw_labels = source.arrays or load_arrays(source)
    labels = raw_labels.astype(np.int64)
    labels.setflags(write=False)
    start = len(labels) - validation_size(len(labels))
    pixels = np.asarray(images)
    return (
        Split(images=pixels[:start], labels=labels[:start]),
        Split(images=pixels[start:], labels=labels[start:]),
    )


def missing_classes(source: DataSource, train_images: int | None) -> list[str]:
    """A line for each split that lacks a class, though the file has it.

    Args:
        source: The data.
        train_images: Only the first so many are trained on; None for all.
    """
    train, validation = load_training(source)
    trained_on = train.labels[:train_images]
    lines = []
    for labels, split, so in (
        (trained_on, "training", "a network cannot learn"),
        (validation.labels, "validation", "no accuracy speaks of"),
    ):
        if missing := sorted(set(range(source.classes)) - set(labels.tolist())):
            which = ", ".join(map(str, missing))
            noun, it = ("class", "it") if len(missing) == 1 else ("classes", "them")
            lines.append(
                f"none of the {len(labels):,} {split} images is of {noun} {which}: {so} {it}"
            )
    return lines


def load_arrays(source: DataSource) -> Arrays:
    """The decoded training file from the source's folder, checked by its fingerprint.

    Every process checks what it trains on: the files may have been replaced since the command
    began. They are read into its own memory, where nobody changes them afterwards.

    Raises:
        UserError: The decoded files are gone or were changed.
    """
    try:
        images, labels = (
            cache.read(source.folder / f"train_{n}.npy") for n in ("images", "labels")
        )
        if len(images) != len(labels) or fingerprint(images, labels) != source.fingerprint:
            raise cache.Damaged("they were changed since")
    except cache.Damaged as error:
        raise UserError(
            f"{source.name}'s decoded files in {source.folder} cannot be used ({error})",
            "Start the command again: it checks and restores them",
        ) from None
    return images, labels


def fingerprint(images: Bytes, labels: Bytes) -> str:
    """SHA-256 of the images' bytes followed by the labels' bytes."""
    digest = hashlib.sha256(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()
