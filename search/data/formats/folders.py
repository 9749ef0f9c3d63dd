"""Reads folders of images, one for each class, and says what is wrong with them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from search.common.errors import UserError
from search.data import memory
from search.data.formats.class_folders import Listing, has_classes, held_out, listing, parts
from search.data.formats.pictures import decode, quiet, upright_size, without_colour
from search.data.names import SCALED, own_name
from search.data.origin import Bytes, Labelled, Part, Shape
from search.data.problem import ImageSize, pixels_in_words

SAMPLE = 32  # images that are looked at for how much memory all will take
LIKELY = 64  # pixels a side that are proposed at most: the networks are small


@dataclass(frozen=True, kw_only=True)
class FolderSet:
    """train/ and test/ of class folders, or class folders alone; see ``origin.Origin``.

    Of class folders alone a sixth is held out as test, always the same for the same names.
    """

    directory: Path
    size: ImageSize | None  # what images are scaled to; None: all must have one size

    @property
    def name(self) -> str:
        """The directory's, with the size if one was asked for."""
        name = own_name(self.directory)
        if self.size is None:
            return name
        return f"{name}{SCALED}{self.size.height}×{self.size.width}"

    @property
    def place(self) -> str:
        """Where it lies."""
        return f"from {self.directory}"

    def fetch(self, say: Callable[[str], None]) -> None:
        """It is here."""

    def files(self) -> list[Path]:
        """The images; not those that are the test."""
        found: tuple[Part, ...] = ("train", "val") if self.has("val") else ("train",)
        return [file for part in found for file in self._listing(part).files]

    def has(self, part: Part) -> bool:
        """By the folders' names."""
        places = parts(self.directory)
        if not places:
            return part != "val"
        return part in places and (part != "test" or has_classes(places[part]))

    def missing_test(self) -> UserError:
        """Names the folder."""
        test = parts(self.directory).get("test")
        what = f"{self.directory} has no folder test" if test is None else f"{test} holds no class"
        what += " folders" if test is not None else ""
        return UserError(
            what, f"Put the test images of each class into {test or self.directory / 'test'}/CLASS"
        )

    def shape(self, part: Part) -> tuple[int, Shape]:
        """From a few of the images: grey if those are. Reading the part tells for all."""
        files = self._listing(part).files
        places = np.linspace(0, len(files) - 1, min(SAMPLE, len(files))).astype(int)
        channels, size = 1, self.size
        with quiet():
            for place in places:
                pixels = decode(files[place], self.size)
                size = size or ImageSize(*pixels.shape[:2])
                if not without_colour(pixels):
                    channels = 3
                    break
        assert size is not None
        return len(files), (channels, *size)

    def read(self, part: Part, like: Shape, say: Callable[[str], None]) -> Labelled:
        """Decode the images; those that train are grey where not one of them has a colour."""
        where = str(self.directory)
        if parts(self.directory):
            found = self._listing(part)
            where = str(found.place)
        elif part == "test":
            found = held_out(self.directory)[1]
            where = f"the held-out sixth of {where}"
        else:
            found, test = held_out(self.directory)
            count, held = len(found.files) + len(test.files), len(test.files)
            say(
                f"{where} has no folder test: {held:,} of its {count:,} images, a sixth of each "
                "class, are held out as test images"
            )
        return Labelled(
            images=self._decoded(found, part, like),
            labels=found.labels,
            class_names=found.names,
            where=where,
            images_where=where,
        )

    def _listing(self, part: Part) -> Listing:
        places = parts(self.directory)
        if not places:
            return held_out(self.directory)[part == "test"]
        train = listing(places["train"])
        return train if part == "train" else listing(places[part], train.names)

    def _decoded(self, found: Listing, part: Part, like: Shape) -> Bytes:
        images = np.empty((len(found.files), *like), dtype=np.uint8)
        with quiet():
            for at, file in enumerate(found.files):
                pixels = decode(file, self.size)
                if pixels.shape[:2] != like[1:]:
                    raise self._sizes(found, part, like)
                if len(images[at]) == 1 and pixels.ndim == 3:
                    if without_colour(pixels):
                        pixels = pixels[..., 0]
                    elif part == "train":
                        images = self._widened(images, at)
                    else:
                        raise UserError(
                            f"{file} has colours, but all training images are grey",
                            "Bring all images to one kind",
                        )
                images[at] = pixels if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        return images

    def _widened(self, images: Bytes, done: int) -> Bytes:
        """Grey images as colour ones, of which the first so many are decoded."""
        count, _, height, width = images.shape
        memory.require(
            3 * images.size, 2, f"the {count:,} training images of {self.name}, which have colours,"
        )
        wide = np.empty((count, 3, height, width), dtype=np.uint8)
        wide[:done] = images[:done]
        return wide

    def _sizes(self, found: Listing, part: Part, like: Shape) -> UserError:
        """Says which sizes the images have."""
        sizes = {file: upright_size(file) for file in found.files}
        common, count = Counter(sizes.values()).most_common(1)[0]
        words = {size: f"{size.height}×{size.width}" for size in sizes.values()}
        one = next(file for file, size in sizes.items() if size == common)
        other = next((file for file, size in sizes.items() if size != common), None)
        size = common if max(common) <= LIKELY else LIKELY
        if part != "train" and (other is None or common != like[1:]):
            return UserError(
                f"{one} is {words[common]}, but the training images are {pixels_in_words(like)}",
                f"Give --image-size {ImageSize(*like[1:])} to have all images scaled",
            )
        assert other is not None
        return UserError(
            f"the images in {found.place} have different sizes: {count:,} of {len(sizes):,} are "
            f"{words[common]}, as {_within(one, found)}, but {_within(other, found)} is "
            f"{words[sizes[other]]}",
            f"Give --image-size {size} to have all images scaled, or another size",
        )


def _within(file: Path, found: Listing) -> str:
    return str(file.relative_to(found.place))
