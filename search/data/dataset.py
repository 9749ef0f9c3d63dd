"""The training and the validation images, from a folder of decoded arrays.

All that a search may see of the data. `sources.locate` finds, checks and decodes the data and names
it by a `DataSource`; the test images are opened by `testset` alone, which nothing here imports.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search.common.errors import UserError
from search.data import cache, splits
from search.data.origin import Bytes, Origin, Shape
from search.data.problem import CLASSES, OLD_SHAPE, numbered

Arrays = tuple[Bytes, cache.Array]  # images, [N, C, H, W] or MNIST's [N, 28, 28], and labels, [N]


@dataclass(frozen=True, kw_only=True)
class DataSource:
    """Where decoded and verified data lies: small, picklable, handed to the workers.

    The mean and the standard deviation are those of the training and the validation images
    together, of pixel values scaled to [0, 1], one for each channel.
    """

    folder: Path  # holds train_images.npy and train_labels.npy: what trains, then what validates
    name: str  # "MNIST" when the digests match, a known set's or that of the user's directory
    description: str  # one line that says which source served
    fingerprint: str  # of both arrays, see ``fingerprint``
    mean: tuple[float, ...]
    std: tuple[float, ...]
    input_shape: Shape = OLD_SHAPE  # channels, height, width
    class_names: tuple[str, ...] = numbered(CLASSES)  # in the order of the labels
    class_images: tuple[int, ...] = ()  # how many of the arrays' images are of each class
    train_images: int = 0
    validation_images: int = 0
    split: str = splits.MNISTS  # how the two were parted, in words
    origin: Origin | None = None  # where the test images are to be had
    arrays: Arrays | None = field(default=None, repr=False, compare=False)  # in place of the folder

    @property
    def classes(self) -> int:
        """How many; labels go from 0 to one less."""
        return len(self.class_names)

    @property
    def uneven(self) -> bool:
        """Whether the classes differ much in their numbers of images."""
        return splits.uneven(self.class_images)

    @property
    def nbytes(self) -> int:
        """Bytes of the training and the validation images with labels of 64 bits."""
        images = self.train_images + self.validation_images
        return images * (int(np.prod(self.input_shape)) + 8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Split:
    """Images and their labels.

    The images are read-only: copy them before a library gets them that wants to write.
    """

    images: npt.NDArray[np.uint8]  # [N, C, H, W]
    labels: npt.NDArray[np.int64]  # [N], from 0 to one less than the classes

    def __len__(self) -> int:
        return len(self.labels)


def load_training(source: DataSource) -> tuple[Split, Split]:
    """The training split and the validation split.

    Raises:
        UserError: The decoded files are gone or were changed.
    """
    whole = load_whole(source)
    start = len(whole) - source.validation_images
    return (
        Split(images=whole.images[:start], labels=whole.labels[:start]),
        Split(images=whole.images[start:], labels=whole.labels[start:]),
    )


def load_whole(source: DataSource) -> Split:
    """The training images and the validation images behind them, as one.

    Raises:
        UserError: The decoded files are gone or were changed.
    """
    images, raw_labels = source.arrays or load_arrays(source)
    labels = raw_labels.astype(np.int64)
    labels.setflags(write=False)
    images = np.asarray(images)
    return Split(images=images if images.ndim == 4 else images[:, None], labels=labels)


def load_labels(source: DataSource) -> npt.NDArray[np.int64]:
    """The labels of both splits, for what is said of them: they are not checked.

    Raises:
        UserError: The decoded file is gone or cannot be read.
    """
    try:
        return cache.read(source.folder / "train_labels.npy").astype(np.int64)
    except cache.Damaged as error:
        raise _unusable(source, error) from None


def load_arrays(source: DataSource) -> Arrays:
    """The decoded arrays from the source's folder, checked by its fingerprint.

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
        raise _unusable(source, error) from None
    return images, labels


def _unusable(source: DataSource, error: cache.Damaged) -> UserError:
    return UserError(
        f"{source.name}'s decoded files in {source.folder} cannot be used ({error})",
        "Start the command again: it checks and restores them",
    )


def fingerprint(images: Bytes, labels: cache.Array) -> str:
    """SHA-256 of the images' bytes followed by the labels' bytes.

    Before them goes the shape of the images, and how wide the labels are, but for arrays
    ``[N, 28, 28]``: MNIST's, which are known by their bytes alone.
    """
    digest = hashlib.sha256()
    if images.ndim != 3:
        digest.update(f"{images.shape} {labels.dtype}".encode())
    digest.update(np.ascontiguousarray(images).data)
    digest.update(np.ascontiguousarray(labels).data)
    return digest.hexdigest()
