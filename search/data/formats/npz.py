"""Reads arrays out of .npz files, a stretch at a time and never as Python objects.

An .npz file is a zip of .npy members: a header with type and shape, then the values.
"""

from __future__ import annotations

import lzma
import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from search.common.errors import UserError

DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    NotImplementedError,  # a compression that Python lacks
    RuntimeError,  # a password
    struct.error,
    tokenize.TokenError,  # of a header
)
HINT = "Make it with numpy.savez or numpy.savez_compressed, or copy it again"
STRETCH = 1 << 22  # bytes that are read at once


@dataclass(frozen=True, kw_only=True)
class Header:
    """What a member holds."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    fortran: bool  # the first dimension is the fastest


def members(file: Path) -> list[str]:
    """The names of the arrays in a file, in its order.

    Raises:
        UserError: If it is no .npz file or cannot be read.
    """
    with _opened(file) as archive:
        return [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]


def header(file: Path, member: str) -> Header:
    """An array's shape and type; its values are not read.

    Raises:
        UserError: If it cannot be read, or holds Python objects.
    """
    with _opened(file, member) as archive, archive.open(member + ".npy") as stream:
        found = _header(stream, file, member)
        expected = math.prod(found.shape) * found.dtype.itemsize
        there = archive.getinfo(member + ".npy").file_size - stream.tell()
        if there != expected:
            raise ValueError(f"{there:,} of {expected:,} bytes are there")
        return found


def stretches(file: Path, member: str, step: int = 1) -> Iterator[npt.NDArray[Any]]:
    """An array's values as flat arrays, in the order in which they lie.

    Args:
        file: The .npz file.
        member: The array's name.
        step: Each stretch is of a multiple of so many values.

    Raises:
        UserError: If it cannot be read, or holds Python objects.
    """
    found = header(file, member)
    left = math.prod(found.shape)
    each = max(1, STRETCH // max(1, step * found.dtype.itemsize)) * step
    with _opened(file, member) as archive, archive.open(member + ".npy") as stream:
        _header(stream, file, member)
        while left:
            count = min(left, each)
            values = stream.read(count * found.dtype.itemsize)
            yield np.frombuffer(values, dtype=found.dtype, count=count)
            left -= count
        stream.read(1)  # at its end the checksum is compared


def whole(file: Path, member: str) -> npt.NDArray[Any]:
    """A small array.

    Raises:
        UserError: If it cannot be read, or holds Python objects.
    """
    found = header(file, member)
    values = [np.empty(0, dtype=found.dtype), *stretches(file, member)]
    return np.concatenate(values).reshape(found.shape, order="F" if found.fortran else "C")


def _header(stream: IO[bytes], file: Path, member: str) -> Header:
    version = np.lib.format.read_magic(stream)
    if version == (1, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    elif version == (2, 0):
        shape, fortran, dtype = np.lib.format.read_array_header_2_0(stream)
    else:  # (3, 0) is for records whose fields have names beyond Latin letters
        raise ValueError(f"its format {version[0]}.{version[1]} is not known")
    if dtype.hasobject:
        raise UserError(
            f"{member} in {file} holds Python objects, which could run code when they are read",
            "Save plain arrays: numpy.asarray(values, dtype=...) makes one, or says why it cannot",
        )
    if min(shape, default=0) < 0 or not dtype.itemsize:
        raise ValueError(f"its shape is {shape}, its type {dtype}")
    return Header(shape=shape, dtype=dtype, fortran=fortran)


@contextmanager
def _opened(file: Path, member: str | None = None) -> Iterator[zipfile.ZipFile]:
    what = str(file) if member is None else f"{member} in {file}"
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    except DAMAGE as error:
        if member is None:
            raise UserError(f"{file} is no .npz file, or is truncated ({error})", HINT) from error
        raise UserError(f"{what} is damaged ({error or 'it breaks off'})", HINT) from error
    except OSError as error:
        raise UserError(
            f"{what} cannot be read ({error.strerror or error})",
            "Make this file readable, or name other data",
        ) from error
