"""A data source whose images are brought to another size."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from search.common.errors import UserError
from search.data.names import SCALED
from search.data.origin import Bytes, Labelled, Origin, Part, Shape
from search.data.problem import ImageSize


@dataclass(frozen=True, kw_only=True)
class Scaled:
    """See ``origin.Origin``; for sources whose images have one size already."""

    origin: Origin
    size: ImageSize

    @property
    def name(self) -> str:
        """With the size: what is known of a set by its name holds for its own size."""
        return f"{self.origin.name}{SCALED}{self.size.height}×{self.size.width}"

    @property
    def place(self) -> str:
        """Where it lies."""
        return self.origin.place

    def fetch(self, say: Callable[[str], None]) -> None:
        """As the source does."""
        self.origin.fetch(say)

    def files(self) -> list[Path]:
        """The source's."""
        return self.origin.files()

    def has(self, part: Part) -> bool:
        """What the source has."""
        return self.origin.has(part)

    def missing_test(self) -> UserError:
        """The source's."""
        return self.origin.missing_test()

    def shape(self, part: Part) -> tuple[int, Shape]:
        """With the size that the images will have."""
        count, (channels, _, _) = self.origin.shape(part)
        return count, (channels, *self.size)

    def read(self, part: Part, like: Shape, say: Callable[[str], None]) -> Labelled:
        """The source's images, scaled."""
        found = self.origin.read(part, self.origin.shape(part)[1], say)
        return replace(found, images=scaled(found.images, self.size))


def scaled(images: Bytes, size: ImageSize) -> Bytes:
    """Images ``[N, C, H, W]`` at another size: bilinear, of all pixels that one covers."""
    from PIL import Image

    made = np.empty((*images.shape[:2], *size), dtype=np.uint8)
    for image, to in zip(images, made, strict=True):
        for channel, out in zip(image, to, strict=True):
            picture = Image.fromarray(np.ascontiguousarray(channel))
            out[:] = picture.resize((size.width, size.height), Image.Resampling.BILINEAR)
    return made
