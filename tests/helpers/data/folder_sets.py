"""Builds folders of images, and asks for them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from search.common.errors import UserError
from search.data.dataset import DataSource, load_training
from search.data.problem import ImageSize
from search.data.sources import locate

Pixels = npt.NDArray[np.uint8]


def grey(seed: int, height: int = 8, width: int = 8) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width), dtype=np.uint8)


def colour(seed: int, height: int = 8, width: int = 8) -> Pixels:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def save(file: Path, pixels: Any, **how: Any) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(file, **how)
    return file


def fill(
    folder: Path,
    counts: dict[str, int],
    make: Callable[[int], Any] = grey,
    *,
    seed: int = 0,
    ending: str = "png",
) -> Path:
    """Class folders of so many images each."""
    for name, count in counts.items():
        for number in range(count):
            save(folder / name / f"{number:03}.{ending}", make(seed))
            seed += 1
    return folder


def parted(tmp_path: Path, make: Callable[[int], Any] = grey, **how: Any) -> Path:
    """60 images of two classes to train on and 8 to test on."""
    fill(tmp_path / "set" / "train", {"cat": 30, "dog": 30}, make, **how)
    fill(tmp_path / "set" / "test", {"cat": 4, "dog": 4}, make, seed=900, **how)
    return tmp_path / "set"


def find(directory: Path, size: int | None = None, said: list[str] | None = None) -> DataSource:
    lines = said if said is not None else []
    wanted = None if size is None else ImageSize(size, size)
    return locate(directory, image_size=wanted, say=lines.append)


def trained_on(source: DataSource) -> Counter[tuple[bytes, str]]:
    splits = load_training(source)
    return Counter(
        (image.tobytes(), source.class_names[label])
        for split in splits
        for image, label in zip(split.images, split.labels, strict=True)
    )


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(UserError) as refused:
        call()
    assert "\n" not in str(refused.value) and refused.value.hint
    return str(refused.value)
