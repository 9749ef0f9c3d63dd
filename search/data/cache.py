"""The cache of decoded arrays: where it is, how it is checked, how several processes fill it."""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from filelock import FileLock, Timeout
from platformdirs import user_cache_dir

from search.common.errors import UserError

Array = npt.NDArray[Any]  # uint8, or uint16 for the labels of many classes

LONGEST_WAIT = 600.0  # seconds for a process that fills the cache: it may be downloading


def cache_directory() -> Path:
    """The environment variable CNN_SEARCH_CACHE, else the user's cache directory for cnn-search."""
    chosen = os.environ.get("CNN_SEARCH_CACHE")
    return Path(chosen or user_cache_dir("cnn-search", appauthor=False)).expanduser().absolute()


class Damaged(Exception):
    """What is wrong with a cached array, in words that begin with its path."""


def read(path: Path) -> Array:
    """A cached array, in this process's own memory: what is checked then is what is used.

    Raises:
        Damaged: If it is missing or is none of bytes.
    """
    try:
        with path.open("rb") as file:
            array = np.lib.format.read_array(file, allow_pickle=False)
    except FileNotFoundError:
        raise Damaged(f"{path} is missing") from None
    except (OSError, ValueError, EOFError, MemoryError) as error:
        raise Damaged(f"{path} cannot be read ({error})") from None
    pixels = path.stem.endswith("images")
    ranks, types = ((3, 4), (np.uint8,)) if pixels else ((1,), (np.uint8, np.uint16))
    plain = array.ndim == 3  # MNIST's alone, whose digests are of bytes without a shape
    if (
        array.dtype not in types
        or array.ndim not in ranks
        or (plain and array.shape[1:] != (28, 28))
    ):
        raise Damaged(f"{path} holds something else")
    array.setflags(write=False)
    return array


def sha256(array: Array) -> str:
    """SHA-256 of an array's shape and row-major bytes (47 MB: 25 ms on a 2023 core).

    Of MNIST's arrays, ``[N, 28, 28]`` and their labels, the bytes alone.
    """
    digest = hashlib.sha256()
    if array.ndim == 4:
        digest.update(str(array.shape).encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def digests(arrays: Mapping[str, Array]) -> dict[str, str]:
    """Each array's SHA-256."""
    return {name: sha256(array) for name, array in arrays.items()}


def load(folder: Path, digests: Mapping[str, str]) -> dict[str, Array]:
    """The arrays in `folder` that have these SHA-256, by name.

    Raises:
        Damaged: If one is not there or not that.
    """
    arrays = {}
    for name, digest in digests.items():
        path = folder / f"{name}.npy"
        arrays[name] = read(path)
        if sha256(arrays[name]) != digest:
            raise Damaged(f"{path} is damaged (its SHA-256 is wrong)")
    return arrays


def problem(folder: Path, digests: Mapping[str, str]) -> str | None:
    """What is wrong with the arrays in `folder` that should have these SHA-256; None: nothing."""
    try:
        load(folder, digests)
    except Damaged as error:
        return str(error)
    return None


def make(folder: Path) -> None:
    """Make a folder that is missing, and those above it, for this user alone.

    Raises:
        OSError: It cannot be made.
    """
    for place in reversed((folder, *folder.parents)):
        if not place.exists():
            place.mkdir(mode=0o700, exist_ok=True)


def shared(folder: Path) -> str | None:
    """Why what lies in a folder of the cache may come from others; None if it cannot.

    It and the folders between it and the cache's must be this user's own and closed to others. The
    cache's itself may be one in which others write but may not replace what is ours, as in /tmp.
    """
    if not hasattr(os, "geteuid"):
        return None
    top = Path(os.path.realpath(cache_directory()))
    for place in (folder, *folder.parents):
        if place == top:
            break
        found = place.lstat()
        if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or found.st_mode & 0o077:
            return f"{place} is not a directory that is closed to others"
    found = top.stat()
    if found.st_uid not in (0, os.geteuid()):
        return f"{top} is another user's"
    if found.st_mode & 0o022 and not found.st_mode & stat.S_ISVTX:
        return f"others can write to {top}"
    return None


def store(folder: Path, arrays: Mapping[str, Array]) -> None:
    """Write each array as `name`.npy: a reader finds no file, the old or the new one, but whole.

    Raises:
        OSError: The folder cannot be made or written.
    """
    make(folder)
    for name, array in arrays.items():
        temporary = folder / f".{name}.{uuid.uuid4().hex}.tmp"
        try:
            with temporary.open("xb") as file:
                np.save(file, array, allow_pickle=False)
            os.replace(temporary, folder / f"{name}.npy")
        finally:
            temporary.unlink(missing_ok=True)


def keep(folder: Path, arrays: Mapping[str, Array], say: Callable[[str], None]) -> Path:
    """Store the arrays in `folder`, or if that cannot be written in a temporary one for this run.

    Returns:
        The folder that holds them.

    Raises:
        UserError: Neither can be written.
    """
    try:
        store(folder, arrays)
        return folder
    except OSError as error:
        say(
            f"the cache {folder} cannot be written ({error.strerror or error}): the data goes to a"
            " temporary folder for this run"
        )
    size = sum(array.nbytes for array in arrays.values())
    try:
        temporary = Path(tempfile.mkdtemp(prefix="cnn-search-"))
        atexit.register(_remove, temporary, os.getpid())
        store(temporary, arrays)
        return temporary
    except OSError as error:
        raise UserError(
            f"the decoded data can be written neither to {folder} nor to a temporary folder"
            f" ({error.strerror or error})",
            f"Set CNN_SEARCH_CACHE to a directory with {size / 1e6:,.0f} MB of space to write to",
        ) from error


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # not a fork of it that ends earlier
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def alone(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock under which `folder` is filled.

    It saves several processes from doing the same work; it is not what keeps the files whole
    (`store` does). So where no lock can be had (read-only folder, no such file system) we go on.
    """
    lock = FileLock(folder.with_name(folder.name + ".lock"))
    try:
        make(folder.parent)
        try:
            lock.acquire(timeout=1.0)
        except Timeout:
            say(f"waiting for another process that is filling {folder}")
            lock.acquire(timeout=LONGEST_WAIT)
    except (OSError, NotImplementedError):  # Timeout is an OSError
        pass
    try:
        yield
    finally:
        lock.release()
