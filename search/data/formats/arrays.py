"""Reads images and labels from the arrays of one .npz file, named as Keras or MedMNIST do."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from search.common.errors import UserError
from search.common.text import counted
from search.data.formats.npz import Header, header, members, stretches, whole
from search.data.names import own_name
from search.data.origin import (
    Bytes,
    Labelled,
    Part,
    Shape,
    channels_first,
    image_shape,
    require_like,
)
from search.data.splits import MOST_CLASSES

PAIRS: tuple[tuple[str, str], ...] = (("x_{}", "y_{}"), ("{}_images", "{}_labels"))
CLASS_NAMES = "class_names"
CONVERT = "Scale the images to whole numbers from 0 to 255, or to fractions from 0 to 1"
NUMBER = "Give each image one whole number from 0: numpy.unique(labels, return_inverse=True)[1]"
ONE = "Give each image one whole number from 0: for one-hot rows labels.argmax(axis=1)"


@dataclass(frozen=True, kw_only=True)
class ArraySet:
    """An .npz file as a data source; see ``origin.Origin``."""

    file: Path

    @property
    def name(self) -> str:
        """The file's."""
        return own_name(self.file)

    @property
    def place(self) -> str:
        """Where it lies."""
        return f"from {self.file}"

    def fetch(self, say: Callable[[str], None]) -> None:
        """It is here."""

    def files(self) -> list[Path]:
        """The one file."""
        return [self.file]

    def has(self, part: Part) -> bool:
        """By the names of the arrays; one of two is a mistake that reading tells."""
        there = members(self.file)
        return any(name in there for pair in _pairs(part) for name in pair)

    def missing_test(self) -> UserError:
        """Names the arrays."""
        return UserError(f"{self.file} has no test images", f"Add {_wanted('test')} to it")

    def shape(self, part: Part) -> tuple[int, Shape]:
        """From the header of the images."""
        images, _ = self._pair(part)
        return self._images(images)[1:]

    def read(self, part: Part, like: Shape, say: Callable[[str], None]) -> Labelled:
        """The two arrays of a part; of others nothing."""
        images, labels = self._pair(part)
        found, count, shape = self._images(images)
        of_labels = header(self.file, labels)
        if of_labels.shape not in ((count,), (count, 1)):
            raise self._unfit(labels, of_labels, images, count)
        where = f"{images} in {self.file}"
        scale = self._scale(images, found, say)
        read = np.empty((count, *shape), dtype=np.uint8)
        require_like(read, like, where)
        self._fill(read, images, found, scale)
        return Labelled(
            images=read,
            labels=self._labels(labels),
            class_names=self._class_names(),
            where=f"{labels} in {self.file}",
            images_where=where,
        )

    def _pair(self, part: Part) -> tuple[str, str]:
        """The names of a part's two arrays."""
        there = members(self.file)
        held = f"; it holds {', '.join(there[:8])}" if there else "; it holds no arrays"
        best = min(_pairs(part), key=lambda pair: sum(name not in there for name in pair))
        missing = [name for name in best if name not in there]
        if len(missing) == 2:
            raise UserError(f"{self.file} lacks {_wanted(part)}{held}", f"Add {_wanted(part)}")
        if missing:
            raise UserError(f"{self.file} lacks {missing[0]}{held}", f"Add {missing[0]} to it")
        return best

    def _images(self, name: str) -> tuple[Header, int, Shape]:
        found = header(self.file, name)
        where = f"{name} in {self.file}"
        if len(found.shape) not in (3, 4):
            raise UserError(
                f"{where} has the shape {_times(found.shape)}: images take 3 or 4 dimensions",
                "Bring the array to the shape [N, height, width] or [N, height, width, 1 or 3]",
            )
        if found.dtype.kind not in "uif":
            raise UserError(f"{where} holds {found.dtype}, not pixels", CONVERT)
        shape = image_shape(found.shape, where)
        if not math.prod(shape):
            raise UserError(f"{where} has images without a pixel", "Name other data")
        return found, found.shape[0], shape

    def _scale(self, name: str, found: Header, say: Callable[[str], None]) -> int:
        """What the values are multiplied by: 255 where they go from 0 to 1."""
        if found.dtype == np.uint8:
            return 1
        low, high, are_whole = math.inf, -math.inf, True
        for values in stretches(self.file, name):
            low, high = min(low, float(values.min())), max(high, float(values.max()))
            if not np.isfinite(values).all():
                raise UserError(f"{name} in {self.file} holds values that are no numbers", CONVERT)
            are_whole = are_whole and bool((values == np.floor(values)).all())
        if found.dtype.kind == "f" and low >= 0 and high <= 1:
            say(
                f"{name} in {self.file} holds {found.dtype} from 0 to 1: multiplied by 255 and "
                "rounded"
            )
            return 255
        if (low < 0 or high > 255 or not are_whole) and low <= high:  # not of no image
            span = f"{found.dtype} from {low:g} to {high:g}"
            broken = "" if are_whole else ", not all of them whole"
            raise UserError(f"{name} in {self.file} holds {span}{broken}", CONVERT)
        return 1

    def _fill(self, images: Bytes, name: str, found: Header, scale: int) -> None:
        """Decode an array of images into ``[N, C, H, W]``, without holding it twice."""

        def as_bytes(values: npt.NDArray[Any]) -> Bytes:
            return (np.rint(values * float(scale)) if scale > 1 else values).astype(np.uint8)

        where = f"{name} in {self.file}"
        if found.fortran:  # an image's pixels lie far apart, so all are needed
            flat = np.empty(images.size, dtype=np.uint8)
            at = 0
            for values in stretches(self.file, name):
                flat[at : at + len(values)] = as_bytes(values)
                at += len(values)
            images[:] = channels_first(flat.reshape(found.shape, order="F"), where)
            return
        at = 0
        for values in stretches(self.file, name, step=math.prod(found.shape[1:])):
            some = as_bytes(values).reshape(-1, *found.shape[1:])
            images[at : at + len(some)] = channels_first(some, where)
            at += len(some)

    def _labels(self, name: str) -> npt.NDArray[np.int64]:
        raw = whole(self.file, name).reshape(-1)
        where = f"{name} in {self.file}"
        if raw.dtype.kind not in "uifb":
            raise UserError(f"{where} holds {raw.dtype}, not whole numbers", NUMBER)
        if raw.dtype.kind == "b":
            raw = raw.astype(np.uint8)
        for wrong, why in (
            (raw != np.floor(raw), "which is not whole"),
            (raw < 0, "which is negative"),
            (raw >= MOST_CLASSES, f"but labels go up to {MOST_CLASSES - 1:,}"),
        ):
            if wrong.any():
                at = int(np.argmax(wrong))
                raise UserError(f"{where} has the label {raw[at]} at {at:,}, {why}", NUMBER)
        return raw.astype(np.int64)

    def _unfit(self, labels: str, found: Header, images: str, count: int) -> UserError:
        """Says how the labels' shape is wrong."""
        where = f"{labels} in {self.file}"
        if found.shape and math.prod(found.shape[1:]) == 1:
            return UserError(
                f"{where} has {counted(found.shape[0], 'label')} for {counted(count, 'image')} in "
                f"{images}",
                "Save images and labels that belong together",
            )
        shape = f"the shape {_times(found.shape)}" if found.shape else "a single value"
        return UserError(f"{where} has {shape}: one label for each image is wanted", ONE)

    def _class_names(self) -> tuple[str, ...] | None:
        if CLASS_NAMES not in members(self.file):
            return None
        found = header(self.file, CLASS_NAMES)
        where, hint = f"{CLASS_NAMES} in {self.file}", "Save numpy.array(['one', 'two', ...])"
        if found.dtype.kind not in "US" or len(found.shape) != 1 or found.shape[0] > MOST_CLASSES:
            raise UserError(
                f"{where} is no list of names, but {found.dtype} of shape "
                f"{_times(found.shape) or 'one'}",
                hint,
            )
        raw = whole(self.file, CLASS_NAMES)
        names = [n.decode("utf-8", "replace") if isinstance(n, bytes) else n for n in raw.tolist()]
        twice = next((name for name, times in Counter(names).items() if times > 1), None)
        if twice is not None or "" in names:
            what = f"the name {twice!r} twice" if twice else "an empty name"
            raise UserError(f"{where} has {what}", "Give each class a name of its own")
        return tuple(names)


def _pairs(part: Part) -> list[tuple[str, str]]:
    return [(images.format(part), labels.format(part)) for images, labels in PAIRS]


def _wanted(part: Part) -> str:
    return " (or ".join(" and ".join(pair) for pair in _pairs(part)) + ")"


def _times(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
