"""Reads image and label files in MNIST's IDX format, plain or gzipped, and says what is wrong.

The format (Y. LeCun): two zero bytes, a type code (8 = unsigned byte), the number of dimensions,
each dimension as a big-endian 32-bit integer, then the values, the last dimension fastest.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from search.common.errors import UserError
from search.common.text import counted
from search.data.names import own_name
from search.data.origin import Labelled, Part, Shape, channels_first, image_shape, require_like

T = TypeVar("T")
Array = npt.NDArray[np.uint8]

STEMS = {
    "train_images": "train-images{}idx3-ubyte",
    "train_labels": "train-labels{}idx1-ubyte",
    "test_images": "t10k-images{}idx3-ubyte",
    "test_labels": "t10k-labels{}idx1-ubyte",
}
IMAGES, LABELS = (3, 4), (1,)  # dimensions
_CHUNK = 1 << 20


DAMAGED = "Download this file again, or name another directory"
OTHER_KIND = "Only unsigned bytes can be read: convert the data, to an .npz file for instance"
KINDS = (8, 9, 11, 12, 13, 14)  # type codes of the format, from bytes to float64


class IdxError(ValueError):
    """What is wrong with a file's contents, in words that follow its name: "is truncated …".

    Args:
        what: The words.
        hint: What to do about it.
    """

    def __init__(self, what: str, hint: str = DAMAGED) -> None:
        super().__init__(what)
        self.hint = hint


@dataclass(frozen=True, kw_only=True)
class IdxSet:
    """A directory's IDX files as a data source; see ``origin.Origin``."""

    directory: Path  # that holds them

    @property
    def name(self) -> str:
        """The directory's."""
        return own_name(self.directory)

    @property
    def place(self) -> str:
        """Where it lies."""
        return f"from {self.directory}"

    def fetch(self, say: Callable[[str], None]) -> None:
        """It is here."""

    def files(self) -> list[Path]:
        """The two training files."""
        return list(self._pair("train"))

    def has(self, part: Part) -> bool:
        """Whether both files of a part are there."""
        return f"{part}_images" in find(self.directory)

    def missing_test(self) -> UserError:
        """Names the files."""
        return UserError(
            f"the data directory {self.directory} has no test files",
            "Put t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (plain or .gz) there",
        )

    def shape(self, part: Part) -> tuple[int, Shape]:
        """From the header of the images' file."""
        file = self._pair(part)[0]
        count, *size = _opened(file, _header)
        return count, image_shape((count, *size), str(file))

    def read(self, part: Part, like: Shape, say: Callable[[str], None]) -> Labelled:
        """Both files of a part."""
        images_file, labels_file = self._pair(part)
        raw, labels = read_pair(images_file, labels_file)
        images = channels_first(raw, str(images_file)).astype(np.uint8, copy=False)
        return Labelled(
            images=require_like(images, like, str(images_file)),
            labels=labels.astype(np.int64),
            class_names=None,
            where=str(labels_file),
            images_where=str(images_file),
        )

    def _pair(self, part: Part) -> tuple[Path, Path]:
        files = find(self.directory)
        return files[f"{part}_images"], files[f"{part}_labels"]


def _spellings(name: str) -> Iterator[str]:
    """The file names in use: the original's, and with a dot as some programs unpack it."""
    for separator in ("-", "."):
        plain = STEMS[name].format(separator)
        yield from (plain, plain + ".gz")
        if "idx3" in plain:  # images with channels, a fourth dimension
            yield from (plain.replace("idx3", "idx4"), plain.replace("idx3", "idx4") + ".gz")


def find(directory: Path) -> dict[str, Path]:
    """The IDX files in `directory`, its raw/ or its MNIST/raw/: keys as in `STEMS`, test optional.

    Raises:
        UserError: There is no such directory, it cannot be read, or one file of a pair is missing.
    """
    hint = (
        "Name a directory that holds train-images-idx3-ubyte and train-labels-idx1-ubyte"
        " (plain or .gz), directly or in raw/ or MNIST/raw/"
    )
    try:
        if not directory.is_dir():
            what = "is not a directory" if directory.exists() else "does not exist"
            raise UserError(f"the data directory {directory} {what}", hint)
        found = [files for place in _places(directory) if (files := _files_in(place))]
    except OSError as error:
        what = f"cannot be read ({error.strerror or error})"
        raise UserError(f"the data directory {directory} {what}", hint) from error
    if not found:
        raise UserError(f"the data directory {directory} holds no IDX files", hint)
    whole = [files for files in found if {"train_images", "train_labels"} <= files.keys()]
    files = (whole or found)[0]
    for images, labels in (("train_images", "train_labels"), ("test_images", "test_labels")):
        needed = images.startswith("train") or images in files or labels in files
        missing = [STEMS[name].format("-") for name in (images, labels) if name not in files]
        if needed and missing:
            place = next(iter(files.values())).parent
            raise UserError(f"the data directory {place} lacks {' and '.join(missing)}", hint)
    return files


def _files_in(place: Path) -> dict[str, Path]:
    if not place.is_dir():
        return {}
    present = {path.name for path in place.iterdir() if path.is_file()}
    return {
        name: place / spelling
        for name in STEMS
        if (spelling := next((s for s in _spellings(name) if s in present), None))
    }


def holds_idx(directory: Path) -> bool:
    """Whether a directory, its raw/ or its MNIST/raw/ holds any IDX file."""
    return any(_files_in(place) for place in _places(directory))


def _places(directory: Path) -> list[Path]:
    return [directory, directory / "raw", directory / "MNIST" / "raw"]


def parse(file: BufferedIOBase, dimensions: tuple[int, ...]) -> Array:
    """The array in an IDX stream, plain or gzipped: told by its first bytes, not by its name.

    Raises:
        IdxError: The contents are not an IDX array of unsigned bytes with so many dimensions.
    """
    return _unzipped(file, lambda plain: _parse_plain(plain, dimensions))


def _header(file: BufferedIOBase) -> tuple[int, ...]:
    return _unzipped(file, lambda plain: _parse_header(plain, IMAGES))


def _unzipped(file: BufferedIOBase, parse: Callable[[BufferedIOBase], T]) -> T:
    zipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    try:
        return parse(gzip.GzipFile(fileobj=file) if zipped else file)
    except EOFError as error:
        raise IdxError("is truncated: its gzip stream breaks off") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise IdxError(f"is damaged: {error}") from error


def _parse_header(file: BufferedIOBase, dimensions: tuple[int, ...]) -> tuple[int, ...]:
    header = file.read(4)
    expected = [bytes((0, 0, 8, number)) for number in dimensions]
    if header not in expected:
        wanted = " or ".join(map(str, dimensions))
        raise IdxError(
            f"is not an IDX file of unsigned bytes in {wanted} dimension(s): it begins with"
            f" {header.hex(' ') or 'nothing'} instead of {expected[0].hex(' ')}",
            OTHER_KIND if _is_other_kind(header) else DAMAGED,
        )
    sizes = file.read(4 * header[3])
    if len(sizes) < 4 * header[3]:
        raise IdxError("is truncated: its header breaks off")
    return struct.unpack(f">{header[3]}I", sizes)


def _parse_plain(file: BufferedIOBase, dimensions: tuple[int, ...]) -> Array:
    shape = _parse_header(file, dimensions)
    size = math.prod(shape)
    values = bytearray()
    while chunk := file.read(_CHUNK):  # to the very end: only there is a gzip stream's checksum
        values += chunk
        if len(values) > size:
            raise IdxError(f"is longer than the {size:,} bytes that its header announces")
    if len(values) < size:
        raise IdxError(f"is truncated: {len(values):,} of {size:,} bytes are there")
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def _is_other_kind(header: bytes) -> bool:
    """Whether a file is a sound one of the format that holds something else than we read."""
    if len(header) < 4 or header[:2] != b"\0\0" or header[2] not in KINDS:
        return False
    return header[2] != 8 or header[3] not in (*IMAGES, *LABELS)  # or the files are mixed up


def read_pair(images_path: Path, labels_path: Path) -> tuple[Array, Array]:
    """Images of three or four dimensions and their labels [N], both uint8.

    Raises:
        UserError: A file cannot be read, is damaged, or does not fit the other or this format.
    """
    images = _opened(images_path, lambda file: parse(file, IMAGES))
    labels = _opened(labels_path, lambda file: parse(file, LABELS))
    if len(images) != len(labels):
        raise UserError(
            f"{labels_path} has {counted(len(labels), 'label')} for "
            f"{counted(len(images), 'image')} in {images_path.name}",
            "Name a directory whose two files belong together",
        )
    return images, labels


def _opened(path: Path, read: Callable[[BufferedIOBase], T]) -> T:
    try:
        with path.open("rb") as file:
            return read(file)
    except IdxError as error:
        raise UserError(f"{path} {error}", error.hint) from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error})",
            "Make this file readable, or name another directory",
        ) from error
