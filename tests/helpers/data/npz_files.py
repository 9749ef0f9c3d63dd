"""Builds sets of arrays in .npz files, and asks for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from search.common.errors import UserError
from search.data.dataset import DataSource, load_training
from search.data.sources import locate

Array = npt.NDArray[Any]


def pixels(*shape: int, seed: int = 0) -> npt.NDArray[np.uint8]:
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def labels(count: int, classes: int = 4) -> npt.NDArray[np.uint8]:
    return (np.arange(count) % classes).astype(np.uint8)


def keras(**changes: Any) -> dict[str, Array]:
    """Keras' four arrays of 120 and 30 images, 8×8, with changes; None leaves one out."""
    arrays: dict[str, Any] = {
        "x_train": pixels(120, 8, 8),
        "y_train": labels(120),
        "x_test": pixels(30, 8, 8, seed=1),
        "y_test": labels(30),
    } | changes
    return {name: array for name, array in arrays.items() if array is not None}


def written(tmp_path: Path, arrays: dict[str, Array], *, zipped: bool = False) -> Path:
    file = tmp_path / "shapes.npz"
    save: Any = np.savez_compressed if zipped else np.savez
    save(file, **arrays)
    return file


def located(tmp_path: Path, said: list[str] | None = None, **changes: Any) -> DataSource:
    lines = said if said is not None else []
    return locate(written(tmp_path, keras(**changes)), say=lines.append)


def by_bytes(images: Array, classes: Array) -> list[tuple[bytes, int]]:
    """Images with their labels in whatever order."""
    return sorted(
        (image.tobytes(), int(label)) for image, label in zip(images, classes.flat, strict=True)
    )


def trained_on(source: DataSource) -> list[tuple[bytes, int]]:
    train, validation = load_training(source)
    return by_bytes(
        np.concatenate([train.images, validation.images]),
        np.concatenate([train.labels, validation.labels]),
    )


def refusal(tmp_path: Path, **changes: Any) -> str:
    with pytest.raises(UserError) as refused:
        located(tmp_path, **changes)
    assert "\n" not in str(refused.value) and refused.value.hint
    return str(refused.value)
