"""Labelled images, whole on one device."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from search.data.dataset import DataSource, load_training


@dataclass(frozen=True, kw_only=True)
class Images:
    """Labelled images and how to normalise them.

    ``pixels`` is ``[N, 28, 28]`` uint8, ``labels`` is ``[N]`` int64; ``mean`` and ``std``
    are those of the training pixels scaled to [0, 1].
    """

    pixels: Tensor
    labels: Tensor
    mean: float
    std: float

    def __len__(self) -> int:
        return len(self.labels)

    def normalised(self, pixels: Tensor) -> Tensor:
        """Pixels from 0 to 255 as floats with the training set's mean 0 and deviation 1."""
        return pixels.mul(1 / (255 * self.std)).sub_(self.mean / self.std)


def on_device(
    pixels: np.ndarray, labels: np.ndarray, mean: float, std: float, device: torch.device
) -> Images:
    """Images from arrays; on the CPU they share the arrays' memory."""
    return Images(
        pixels=_tensor(pixels).to(device),
        labels=_tensor(labels).to(device=device, dtype=torch.int64),
        mean=mean,
        std=std,
    )


def load_images(
    source: DataSource, device: str, *, train_images: int | None = None
) -> tuple[Images, Images]:
    """The training and the validation images, on a device.

    Args:
        source: The data.
        device: As torch names it.
        train_images: Only the first so many to train on; None for all.
    """
    train, validation = load_training(source)
    keep, on = slice(train_images), torch.device(device)
    return (
        on_device(train.images[keep], train.labels[keep], source.mean, source.std, on),
        on_device(validation.images, validation.labels, source.mean, source.std, on),
    )


def _tensor(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():  # a memory-mapped array is read-only; nothing writes to it
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)
