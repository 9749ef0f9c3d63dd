"""How images are split: stratified, in an order made once; and what their classes are short of."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from search.common.errors import UserError
from search.common.text import counted
from search.data.problem import numbered

if TYPE_CHECKING:
    from search.data.dataset import DataSource
    from search.data.origin import Labelled

Labels = npt.NDArray[np.integer]
Order = npt.NDArray[np.int64]

LARGEST_VALIDATION = 10_000  # the classical split of MNIST's training file: 50,000 / 10,000
SEED = 0
MNISTS = "last 10,000 of the training file"  # how a split was made, as studies record it
STRATIFIED = f"stratified, one sixth, seed {SEED}"
AS_GIVEN = "the set's own"
MOST_CLASSES = 1 << 16  # that labels of two bytes tell apart
UNEVEN = 1.5  # times as many images in the largest class as in the smallest are said


def validation_size(images: int) -> int:
    """How many of a training set's images validate: a sixth, at most 10,000 (MNIST's case)."""
    return min(LARGEST_VALIDATION, images // 6)


def stratified_order(labels: Labels, seed: int = SEED) -> Order:
    """An order of images in which every stretch from the start or to the end is stratified.

    Of the first m images each class has its share of all images, times m, to within one image; so
    has it of the last m. Which image of a class comes when is random, by numpy's RandomState,
    whose numbers are promised not to change.

    Args:
        labels: ``[N]``, from 0.
        seed: Of the random part.

    Returns:
        ``[N]``: the index of the image at each place.
    """
    labels = np.asarray(labels)
    shuffled = np.random.RandomState(seed).permutation(len(labels)).astype(np.int64)
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    order = np.empty_like(by_class)
    order[np.argsort(_places(np.bincount(labels)), kind="stable")] = by_class
    return order


def _places(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The class at each place, such that no class is ever a whole image ahead or behind.

    The chairman assignment problem (Tijdeman 1980): the image k of a class of n among N may stand
    from place k N / n - 1 to (k + 1) N / n; the earliest end among those that may is taken, which
    always works out.
    """
    total = int(counts.sum())
    images = [int(count) for count in counts]
    places = np.empty(total, dtype=np.int64)
    ready = [(total // n, label, 0) for label, n in enumerate(images) if n]
    heapq.heapify(ready)
    waiting: list[tuple[int, int, int]] = []
    for place in range(total):
        while waiting and waiting[0][0] <= place:
            _, label, k = heapq.heappop(waiting)
            heapq.heappush(ready, ((k + 1) * total // images[label], label, k))
        _, label, k = heapq.heappop(ready)
        places[place] = label
        if k + 1 < images[label]:
            start = -(-(k + 1) * total // images[label]) - 1
            heapq.heappush(waiting, (start, label, k + 1))
    return places


def class_names(train: Labelled, validation: Labelled | None) -> tuple[str, ...]:
    """The names of the classes, in the order of the labels.

    Raises:
        UserError: If there are too many, or a label has no name.
    """
    most = max(int(part.labels.max()) for part in (train, validation) if part is not None)
    if most >= MOST_CLASSES:
        raise UserError(
            f"{train.where} has the label {most:,}: labels go up to {MOST_CLASSES - 1:,}",
            "Number the classes from 0 without a gap",
        )
    if train.class_names is None:
        return numbered(most + 1)
    if most >= len(train.class_names):
        raise UserError(
            f"{train.where} has the label {most:,}, but there are names for "
            f"{len(train.class_names):,} classes",
            "Name every class",
        )
    return train.class_names


def require_two(labels: Labels, kept: int, names: tuple[str, ...], where: str) -> None:
    """Refuse labels that leave nothing to learn.

    Args:
        labels: Of the training images and, behind them, of those that validate.
        kept: So many validate.
        names: Of the classes.
        where: What the labels were read from.

    Raises:
        UserError: If there is but one class, one has no image, or one has none to train on.
    """
    images = np.bincount(labels, minlength=len(names))
    if np.count_nonzero(images) == 1:
        only = names[int(np.argmax(images))]
        raise UserError(
            f"{where} gives every image the label {only}: there is nothing to tell apart",
            "Name data with two classes at least",
        )
    if (empty := np.flatnonzero(images == 0)).size:
        raise UserError(
            f"{where} has {len(names):,} classes, but no image has the label "
            f"{some(names, empty.tolist())}",
            "Number the classes from 0 without a gap, and name none without images",
        )
    start = len(labels) - kept
    unseen = sorted(set(labels[start:].tolist()) - set(labels[:start].tolist()))
    if unseen:
        raise UserError(
            f"{where} has the label {some(names, unseen)} on too few images: they validate, and "
            "none is left to train on",
            "Add images of it, or leave it out",
        )


def some(names: tuple[str, ...], labels: list[int]) -> str:
    """The first few names of some labels."""
    shown = ", ".join(names[label] for label in labels[:5])
    return shown if len(labels) <= 5 else f"{shown} and {len(labels) - 5:,} more"


def uneven(class_images: Sequence[int]) -> bool:
    """Whether some class has so many more images than another that accuracy alone misleads."""
    return bool(class_images) and max(class_images) > UNEVEN * min(class_images)


def remarks(source: DataSource, labels: Labels, train_images: int | None) -> list[str]:
    """A line for each thing about the classes that whoever reads the figures should know.

    Args:
        source: The data.
        labels: Of its training and validation images, as ``dataset.load_labels`` gives them.
        train_images: Only the first so many are trained on; None for all.
    """
    start = len(labels) - source.validation_images
    lines = []
    for of, split, so in (
        (labels[:start][:train_images], "training", "a network cannot learn"),
        (labels[start:], "validation", "no accuracy covers"),
    ):
        if missing := sorted(set(range(source.classes)) - set(of.tolist())):
            which = ", ".join(source.class_names[label] for label in missing)
            noun, it = ("class", "it") if len(missing) == 1 else ("classes", "them")
            lines.append(f"none of the {len(of):,} {split} images is of {noun} {which}: {so} {it}")
    if source.uneven:
        most, least = max(source.class_images), min(source.class_images)
        names = [source.class_names[source.class_images.index(n)] for n in (most, least)]
        lines.append(
            f"uneven classes: {names[0]} has {counted(most, 'image')} and {names[1]} "
            f"{least:,}: balanced accuracy, the mean over classes, stands beside accuracy"
        )
    return lines
