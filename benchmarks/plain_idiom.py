"""The training loop that users write themselves: what our trainer is measured against.

torchvision's data set, a DataLoader, per-image transforms, float32, PyTorch's default threads,
the textbook loop with a validation pass after every epoch. Nothing is slowed on purpose, and
nothing is done that a tutorial would not do. Network and recipe are a candidate's, so that both
trainers do the same work.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset
from torchvision import datasets, transforms

from search.architecture import layers as described
from search.architecture.candidate import LayeredCandidate
from search.architecture.counting import layer_table
from search.architecture.layers import CLASSES, TTA, Dropout, Pool
from search.candidates.candidate import AnyCandidate
from search.layers.deskew import Deskew
from search.layers.rotated import RotatedBatchNorm2d, RotatedConv2d
from search.layers.test_time_augmentation import MeanOfCopies, ShiftedCopies
from search.training.recipe import Recipe


@dataclass(frozen=True, kw_only=True)
class PlainEpoch:
    """One epoch: validation accuracy in [0, 1] and wall seconds, validation included."""

    accuracy: float
    seconds: float


def as_torchvision(folder: Path, images: np.ndarray, labels: np.ndarray) -> Path:
    """Write the training file where ``torchvision.datasets.MNIST`` looks for it.

    Args:
        folder: For the files.
        images: ``[N, 1, 28, 28]`` uint8.
        labels: ``[N]``.
    """
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    for name, array in (("images-idx3", images[:, 0]), ("labels-idx1", labels)):
        header = bytes((0, 0, 8, array.ndim)) + np.array(array.shape, dtype=">u4").tobytes()
        content = header + array.astype(np.uint8).tobytes()
        (raw / f"train-{name}-ubyte").write_bytes(content)
        # torchvision asks for all four files; the test pair is a copy and never read
        (raw / f"t10k-{name}-ubyte").write_bytes(content)
    return folder


def plain_layers(candidate: LayeredCandidate) -> nn.Module:
    """The candidate as one would write it: convolution, BatchNorm, ReLU, pooling, in that order."""
    layers: list[nn.Module] = []
    channels, of_rotated = 1, False
    for layer in candidate.layers:
        if isinstance(layer, described.Deskew):
            layers.append(Deskew())
        elif isinstance(layer, TTA):
            layers.append(ShiftedCopies())
        elif isinstance(layer, Pool):
            layers.append(nn.MaxPool2d(2))
        elif isinstance(layer, Dropout):
            layers.append((nn.Dropout2d if layer.channelwise else nn.Dropout)(layer.rate))
        else:
            shape = (channels, layer.width, layer.kernel)
            padding, bias = layer.padding, layer.bias
            layers.append(
                RotatedConv2d(*shape, padding=padding, bias=bias, of_rotated=of_rotated)
                if layer.rotated
                else nn.Conv2d(*shape, padding=padding, bias=bias)
            )
            layers += [nn.MaxPool2d(2)] if layer.early_pool else []
            norm = RotatedBatchNorm2d if layer.rotated else nn.BatchNorm2d
            layers += [norm(layer.width)] if layer.norm else []
            layers.append(nn.ReLU())
            channels, of_rotated = layer.width, layer.rotated
    mean = [MeanOfCopies()] if TTA() in candidate.layers else []
    if candidate.head.kind == "conv-gap":
        head = nn.Conv2d(channels, CLASSES, candidate.head.kernel, bias=candidate.head.bias)
        return nn.Sequential(*layers, head, nn.AdaptiveAvgPool2d(1), nn.Flatten(), *mean)
    linear = nn.Linear(channels, CLASSES, bias=candidate.head.bias)
    pooling: nn.Module = nn.AdaptiveAvgPool2d(1)
    if candidate.head.kind == "depthwise-linear":
        _, height, width = layer_table(candidate)[-2].output_shape
        pooling = nn.Conv2d(channels, channels, (height, width), groups=channels, bias=False)
    return nn.Sequential(*layers, pooling, nn.Flatten(), linear, *mean)


def train(
    candidate: AnyCandidate,
    folder: Path,
    *,
    epochs: int,
    seed: int,
    train_images: slice,
    validation_images: slice,
    workers: int = 0,
    device: str = "cpu",
    on_epoch: Callable[[PlainEpoch], None] = lambda epoch: None,
) -> list[PlainEpoch]:
    """Train as a user would.

    Args:
        candidate: Network and recipe; averaging of weights is left out where it has none.
        folder: From ``as_torchvision``.
        epochs: How many.
        seed: For ``torch.manual_seed``.
        train_images: Which images of the file to train on.
        validation_images: Which to validate on.
        workers: The DataLoader's processes.
        device: Where the network is; each batch is copied there.
        on_epoch: Called after each epoch.
    """
    torch.manual_seed(seed)
    recipe = candidate.recipe
    normalise = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    amounts = recipe.augmentation
    distortions: list[object] = []
    if amounts.shift or amounts.scale:
        move = amounts.shift / 28
        distortions.append(
            transforms.RandomAffine(
                amounts.rotation,
                translate=(move, move),
                scale=(1 - amounts.scale, 1 + amounts.scale),
                interpolation=transforms.InterpolationMode.BILINEAR,
            )
        )
    elif amounts.rotation:
        distortions.append(
            transforms.RandomRotation(
                amounts.rotation, interpolation=transforms.InterpolationMode.BILINEAR
            )
        )
    train_set = datasets.MNIST(folder, transform=transforms.Compose([*distortions, *normalise]))
    validation_set = datasets.MNIST(folder, transform=transforms.Compose(normalise))
    train_loader = _loader(train_set, train_images, recipe.batch_size, workers, shuffle=True)
    validation_loader = _loader(validation_set, validation_images, 1000, workers, shuffle=False)

    model = (
        plain_layers(candidate) if isinstance(candidate, LayeredCandidate) else candidate.build()
    )
    model = model.to(device)
    optimizer = _optimizer(model, recipe)
    total = epochs * len(train_loader)
    scheduler = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: recipe.rate(step, total, len(train_loader)) / recipe.learning_rate
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    average = None
    if recipe.average_decay:
        average = torch.optim.swa_utils.AveragedModel(
            model,
            multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(  # type: ignore[no-untyped-call]
                recipe.average_decay
            ),
            use_buffers=True,
        )
    results = []
    for _ in range(epochs):
        started = time.perf_counter()
        model.train()
        for images, labels in train_loader:
            optimizer.zero_grad()
            criterion(model(images.to(device)), labels.to(device)).backward()
            optimizer.step()
            scheduler.step()
            if average is not None:
                average.update_parameters(model)
        accuracy = _validate(average or model, validation_loader, device)
        results.append(PlainEpoch(accuracy=accuracy, seconds=time.perf_counter() - started))
        on_epoch(results[-1])
    return results


def _loader(
    dataset: datasets.MNIST, part: slice, batch: int, workers: int, *, shuffle: bool
) -> DataLoader[tuple[torch.Tensor, torch.Tensor]]:
    chosen = Subset(dataset, range(len(dataset))[part])
    return DataLoader(chosen, batch_size=batch, shuffle=shuffle, num_workers=workers)


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    parameters, rate, decay = model.parameters(), recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=decay,
        )
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr=rate, weight_decay=decay)


def _validate(
    model: nn.Module, loader: DataLoader[tuple[torch.Tensor, torch.Tensor]], device: str
) -> float:
    model.eval()
    right = count = 0
    with torch.no_grad():
        for images, labels in loader:
            found = model(images.to(device)).argmax(dim=1)
            right += int((found == labels.to(device)).sum())
            count += len(labels)
    return right / count
