"""How right a network is on some images."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch.nn import functional

from search.data.images import Images
from search.training.network import Network

VALIDATION_BATCH = 400  # images; the activations of larger ones fall out of a CPU core's cache


class Evaluation(NamedTuple):
    """How right a network is on some images."""

    accuracy: float  # in [0, 1]
    loss: float  # mean cross entropy
    balanced_accuracy: float  # mean over the classes that occur of the share that is right


def evaluate(network: Network, images: Images) -> Evaluation:
    """A network's figures on all images, in float32 and without dropout."""
    device = images.pixels.device
    right = torch.zeros((), device=device, dtype=torch.int64)
    loss = torch.zeros((), device=device)
    with torch.no_grad():
        classes = torch.arange(int(images.labels.max()) + 1, device=device)
        right_by_class = torch.zeros_like(classes)
        for start in range(0, len(images), VALIDATION_BATCH):
            labels = images.labels[start : start + VALIDATION_BATCH]
            pixels = images.pixels[start : start + VALIDATION_BATCH]
            logits = network(images.normalised(pixels), training=False)
            hits = logits.argmax(dim=1) == labels
            right += hits.sum()
            right_by_class.index_add_(0, labels, hits.long())
            loss += functional.cross_entropy(logits, labels, reduction="sum")
        there = torch.zeros_like(classes).index_add_(0, images.labels, images.labels * 0 + 1)
    occurring = there > 0
    shares = right_by_class[occurring].double() / there[occurring]
    return Evaluation(
        accuracy=right.item() / len(images),
        loss=loss.item() / len(images),
        balanced_accuracy=shares.mean().item(),
    )
