"""Labelled images, whole on one device."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from search.data.dataset import DataSource, Split, load_training


@dataclass(frozen=True, kw_only=True)
class Images:
    """Labelled images and how to normalise them.

    ``pixels`` is ``[N, C, H, W]`` uint8, ``labels`` is ``[N]`` int64; ``mean`` and ``std``
    are those of the training pixels scaled to [0, 1], one for each channel.
    """

    pixels: Tensor
    labels: Tensor
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def normalised(self, pixels: Tensor) -> Tensor:
        """Pixels from 0 to 255 as floats with the training set's mean 0 and deviation 1.

        Args:
            pixels: ``[N, C, H, W]`` of any type.
        """
        if len(self.mean) == 1:
            return pixels.mul(1 / (255 * self.std[0])).sub_(self.mean[0] / self.std[0])
        factor, offset = self._by_channel
        return pixels.mul(factor).sub_(offset)

    @cached_property
    def _by_channel(self) -> tuple[Tensor, Tensor]:
        """Factor and offset, ``[C, 1, 1]`` each: copied to the device once."""
        pairs = list(zip(self.mean, self.std, strict=True))
        values = [[1 / (255 * std) for _, std in pairs], [mean / std for mean, std in pairs]]
        both = torch.tensor(values, device=self.pixels.device).view(2, -1, 1, 1)
        return both[0], both[1]


def on_device(
    pixels: np.ndarray,
    labels: np.ndarray,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    device: torch.device,
) -> Images:
    """Images from arrays, ``[N, C, H, W]``; on the CPU they share the arrays' memory."""
    return Images(
        pixels=_tensor(pixels).to(device),
        labels=_tensor(labels).to(device=device, dtype=torch.int64),
        mean=mean,
        std=std,
    )


def split_on_device(split: Split, source: DataSource, device: str) -> Images:
    """A split's images on a device, to be normalised as the source says."""
    return on_device(split.images, split.labels, source.mean, source.std, torch.device(device))


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
    keep = slice(train_images)
    first = Split(images=train.images[keep], labels=train.labels[keep])
    return split_on_device(first, source, device), split_on_device(validation, source, device)


def _tensor(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():  # a memory-mapped array is read-only; nothing writes to it
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)
