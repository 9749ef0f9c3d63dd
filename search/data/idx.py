"""Reads image and label files in MNIST's IDX format, plain or gzipped, and says what is wrong.

The format (Y. LeCun): two zero bytes, a type code (8 = unsigned byte), the number of dimensions,
each dimension as a big-endian 32-bit integer, then the values, the last dimension fastest.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

import numpy as np
import numpy.typing as npt

from search.common.errors import UserError
from search.common.text import counted

Array = npt.NDArray[np.uint8]

STEMS = {
    "train_images": "train-images{}idx3-ubyte",
    "train_labels": "train-labels{}idx1-ubyte",
    "test_images": "t10k-images{}idx3-ubyte",
    "test_labels": "t10k-labels{}idx1-ubyte",
}
_CHUNK = 1 << 20


DAMAGED = "Download this file again, or name another directory"
OTHER_KIND = "Only unsigned bytes of one grey channel can be read: convert the data"
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


def _spellings(name: str) -> Iterator[str]:
    """The file names in use: the original's, and with a dot as some programs unpack it."""
    for separator in ("-", "."):
        plain = STEMS[name].format(separator)
        yield from (plain, plain + ".gz")


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
        places = [directory, directory / "raw", directory / "MNIST" / "raw"]
        found = [files for place in places if (files := _files_in(place))]
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


def parse(file: BufferedIOBase, dimensions: int) -> Array:
    """The array in an IDX stream, plain or gzipped: told by its first bytes, not by its name.

    Raises:
        IdxError: The contents are not an IDX array of unsigned bytes with so many dimensions.
    """
    zipped = file.read(2) == b"\x1f\x8b"
    file.seek(0)
    try:
        return _parse_plain(gzip.GzipFile(fileobj=file) if zipped else file, dimensions)
    except EOFError as error:
        raise IdxError("is truncated: its gzip stream breaks off") from error
    except (zlib.error, gzip.BadGzipFile) as error:
        raise IdxError(f"is damaged: {error}") from error


def _parse_plain(file: BufferedIOBase, dimensions: int) -> Array:
    header = file.read(4 + 4 * dimensions)
    expected = bytes((0, 0, 8, dimensions))
    if header[:4] != expected:
        raise IdxError(
            f"is not an IDX file of unsigned bytes in {dimensions} dimension(s): it begins with"
            f" {header[:4].hex(' ') or 'nothing'} instead of {expected.hex(' ')}",
            OTHER_KIND if _is_other_kind(header) else DAMAGED,
        )
    if len(header) < 4 + 4 * dimensions:
        raise IdxError("is truncated: its header breaks off")
    shape = struct.unpack(f">{dimensions}I", header[4:])
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
    return header[2] != 8 or header[3] not in (1, 3)  # these two, and the files are mixed up


def read_pair(images_path: Path, labels_path: Path, *, fewest: int) -> tuple[Array, Array]:
    """At least `fewest` images [N, 28, 28] and their labels [N] from 0 to 9, both uint8.

    Raises:
        UserError: A file cannot be read, is damaged, or does not fit the other or this format.
    """
    images, labels = _read(images_path, 3), _read(labels_path, 1)
    if images.shape[1:] != (28, 28):
        size = f"{images.shape[1]}×{images.shape[2]}"
        raise UserError(
            f"{images_path} has images of {size}, not 28×28",
            "Bring the images to 28×28 pixels, or name another directory",
        )
    if len(images) != len(labels):
        raise UserError(
            f"{labels_path} has {counted(len(labels), 'label')} for "
            f"{counted(len(images), 'image')} in {images_path.name}",
            "Name a directory whose two files belong together",
        )
    if len(images) < fewest:
        raise UserError(
            f"{images_path} has {counted(len(images), 'image')}, fewer than {fewest}",
            "Name a directory with more images",
        )
    if labels.max() > 9:
        at = int(np.argmax(labels > 9))
        raise UserError(
            f"{labels_path} has the label {labels[at]} at {at:,}: labels go from 0 to 9",
            "Name a directory with ten classes at most, numbered from 0",
        )
    return images, labels


def _read(path: Path, dimensions: int) -> Array:
    try:
        with path.open("rb") as file:
            return parse(file, dimensions)
    except IdxError as error:
        raise UserError(f"{path} {error}", error.hint) from error
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror or error})",
            "Make this file readable, or name another directory",
        ) from error
