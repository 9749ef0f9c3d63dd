"""Builds small data sets in MNIST's IDX format."""

from __future__ import annotations

import gzip
import os
import struct
import time
from pathlib import Path

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.uint8]


def idx_bytes(array: Array) -> bytes:
    header = bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def some_images(count: int, seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (count, 28, 28), dtype=np.uint8)


def some_labels(count: int) -> Array:
    return (np.arange(count) % 10).astype(np.uint8)


def write_idx(path: Path, array: Array, *, zipped: bool = False) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    content = idx_bytes(array)
    path.write_bytes(gzip.compress(content, compresslevel=1) if zipped else content)
    settled = time.time() - 60  # what was written a moment ago is decoded anew each time
    os.utime(path, (settled, settled))
    return path


def write_dataset(
    folder: Path, *, train: int = 120, test: int = 30, zipped: bool = False, separator: str = "-"
) -> Path:
    """All four files; without the last two where `test` is 0."""
    suffix = ".gz" if zipped else ""
    for part, count, seed in (("train", train, 0), ("t10k", test, 1)):
        if count:
            images = folder / f"{part}-images{separator}idx3-ubyte{suffix}"
            labels = folder / f"{part}-labels{separator}idx1-ubyte{suffix}"
            write_idx(images, some_images(count, seed), zipped=zipped)
            write_idx(labels, some_labels(count), zipped=zipped)
    return folder
