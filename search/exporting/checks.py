"""Measures an exported folder as a stranger would: its own files, on the validation images."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from search.exporting import onnx_files, standalone

if TYPE_CHECKING:
    from search.data.dataset import Split

TOLERATED = 0.001  # share of images that other hardware may judge otherwise


@dataclass(frozen=True, kw_only=True)
class Measured:
    """How many of the validation images each form of the network gets right."""

    images: int
    recorded: int  # in the study; validation is in float32 however the training was
    float32: int  # by model.py and its weights
    onnx: int
    int8: int
    largest_difference: float  # of a logit, between torch and onnxruntime, in float32
    largest_logit: float  # of torch's, to compare that with
    other_classes: int  # images that torch and onnxruntime classify differently, in float32
    other_classes_int8: int  # images that torch in float32 and the int8 file classify differently
    balanced: tuple[float, float, float] | None = None  # of the last three above, of uneven classes

    @property
    def reproduced(self) -> bool:
        """Whether the loaded network is right exactly as often as the study says."""
        return self.recorded == self.float32

    @property
    def acceptable(self) -> bool:
        """Whether it is at least as close as other hardware or versions explain."""
        return abs(self.recorded - self.float32) <= max(1, TOLERATED * self.images)


def by_torch(folder: Path, validation: Split) -> onnx_files.Logits:
    """Logits ``[N, classes]`` of the validation images by a folder's ``model.py``."""
    import torch

    network = standalone.load_standalone(folder)
    logits: onnx_files.Logits = standalone.logits(
        network, torch.from_numpy(validation.images.copy())
    ).numpy()
    return logits


def measure(folder: Path, validation: Split, *, recorded: float, uneven: bool = False) -> Measured:
    """Load every form from its file and predict all validation images with it.

    Args:
        folder: Holds ``model.py``, its weights and both ONNX files.
        validation: The images that the trial was validated on.
        recorded: The trial's value, in [0, 1].
        uneven: Whether some classes have many more images than others.
    """
    plain = by_torch(folder, validation)
    onnx = onnx_files.predict(folder / onnx_files.FLOAT32, validation.images)
    int8 = onnx_files.predict(folder / onnx_files.INT8, validation.images)

    def right(logits: onnx_files.Logits) -> int:
        return int((logits.argmax(axis=1) == validation.labels).sum())

    def balanced(logits: onnx_files.Logits) -> float:
        hits = logits.argmax(axis=1) == validation.labels
        return float(
            np.mean([hits[validation.labels == c].mean() for c in np.unique(validation.labels)])
        )

    def differing(logits: onnx_files.Logits) -> int:
        return int((logits.argmax(axis=1) != plain.argmax(axis=1)).sum())

    return Measured(
        images=len(validation),
        recorded=round(recorded * len(validation)),
        float32=right(plain),
        onnx=right(onnx),
        int8=right(int8),
        largest_difference=float(np.abs(onnx - plain).max()),
        largest_logit=float(np.abs(plain).max()),
        other_classes=differing(onnx),
        other_classes_int8=differing(int8),
        balanced=(balanced(plain), balanced(onnx), balanced(int8)) if uneven else None,
    )
