"""What every kind of data source can do: a labelled set where it lies, read part by part.

The kinds are in `formats/`. Which one serves is for `sources.locate` to find; the part "test" is
read by `testset` alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

from search.common.errors import UserError
from search.data.problem import pixels_in_words

Bytes = npt.NDArray[np.uint8]
Part = Literal["train", "val", "test"]
Shape = tuple[int, int, int]  # channels, height, width


@dataclass(frozen=True, kw_only=True, eq=False)
class Labelled:
    """Decoded images with their labels."""

    images: Bytes  # [N, C, H, W]
    labels: npt.NDArray[np.int64]  # [N], from 0
    class_names: tuple[str, ...] | None  # in the order of the labels; None: numbered
    where: str  # what the labels were read from, for messages
    images_where: str  # likewise


class Origin(Protocol):
    """A labelled set where it lies; frozen and picklable."""

    @property
    def name(self) -> str:
        """Of the set."""
        ...

    @property
    def place(self) -> str:
        """Where it lies, in words that follow its name."""
        ...

    def fetch(self, say: Callable[[str], None]) -> None:
        """Have it on this machine.

        Raises:
            UserError: If it cannot be had.
        """
        ...

    def files(self) -> list[Path]:
        """What the parts "train" and "val" are read from."""
        ...

    def has(self, part: Part) -> bool:
        """Whether there is such a part, by names alone."""
        ...

    def missing_test(self) -> UserError:
        """Says that there is no part "test", and what to do."""
        ...

    def shape(self, part: Part) -> tuple[int, Shape]:
        """How many images a part has and of which shape, from its headers.

        Raises:
            UserError: If they cannot be read.
        """
        ...

    def read(self, part: Part, like: Shape, say: Callable[[str], None]) -> Labelled:
        """Decode a part.

        Args:
            part: Which.
            like: The shape that the images are to have; for "train" what ``shape`` gave.
            say: Told, a line each, what is not as one would expect.

        Raises:
            UserError: If it cannot be read, is damaged or does not fit.
        """
        ...


def channels_first(images: npt.NDArray[np.generic], where: str) -> npt.NDArray[np.generic]:
    """``[N, H, W]``, ``[N, H, W, C]`` or ``[N, C, H, W]`` as a view that is ``[N, C, H, W]``."""
    return images[:, None] if images.ndim == 3 else np.transpose(images, _axes(images.shape, where))


def image_shape(shape: tuple[int, ...], where: str) -> Shape:
    """Channels, height and width of images in an array of a shape of three or four dimensions.

    Raises:
        UserError: If it is not clear which dimension is which.
    """
    if len(shape) == 3:
        return 1, shape[1], shape[2]
    axes = _axes(shape, where)
    return shape[axes[1]], shape[axes[2]], shape[axes[3]]


def _axes(shape: tuple[int, ...], where: str) -> tuple[int, int, int, int]:
    first, last = shape[1] in (1, 3), shape[3] in (1, 3)
    if first == last:
        why = "1 or 3 channels stand neither second nor last" if not first else "which are channels"
        raise UserError(
            f"{where} has the shape {'×'.join(map(str, shape))}: {why}",
            "Bring the array to the shape [N, height, width] or [N, height, width, 1 or 3]"
            + (" with more than 3 pixels a side" if first else ""),
        )
    return (0, 1, 2, 3) if first else (0, 3, 1, 2)


def require_like(images: Bytes, like: Shape, where: str) -> Bytes:
    """Images as they are, if they have a shape.

    Raises:
        UserError: If they have another.
    """
    found = (images.shape[1], images.shape[2], images.shape[3])
    if found != like:
        raise UserError(
            f"{where} has images of {pixels_in_words(found)}, but the training images are "
            f"{pixels_in_words(like)}",
            "Bring all images to one size and one kind",
        )
    return images
