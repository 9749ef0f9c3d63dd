"""Trains a network by a recipe on images that stay on one device, and validates every epoch."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from search.engine.augment import distort
from search.engine.errors import InterruptedTraining, TrainingError
from search.engine.recipe import Recipe
from search.engine.seeds import mix_seed

VALIDATION_BATCH = 1000  # images; larger ones fall out of a CPU's caches


@dataclass(frozen=True, kw_only=True)
class Images:
    """Labelled images, whole on one device.

    ``pixels`` is ``[N, 28, 28]`` uint8, ``labels`` is ``[N]`` int64; ``mean`` and ``deviation``
    are those of the training pixels scaled to [0, 1].
    """

    pixels: Tensor
    labels: Tensor
    mean: float
    deviation: float

    def normalised(self, pixels: Tensor) -> Tensor:
        """Pixels from 0 to 255 as ``[N, 1, H, W]`` with the training set's mean 0, deviation 1."""
        scale = 1 / (255 * self.deviation)
        return pixels.mul(scale).sub_(self.mean / self.deviation)


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What one epoch of training gave."""

    number: int  # from 1
    accuracy: float  # on the validation images, in [0, 1]
    loss: float  # mean cross entropy on the validation images
    training_loss: float  # mean over the epoch's steps, with dropout and augmentation
    seconds: float  # training and validation


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A trained network, with averaged weights where the recipe averages, and its curve."""

    model: nn.Module
    epochs: list[Epoch]

    @property
    def best(self) -> Epoch:
        """The epoch of the highest validation accuracy, the first of equals."""
        return max(self.epochs, key=lambda epoch: epoch.accuracy)


def on_device(
    pixels: np.ndarray, labels: np.ndarray, mean: float, deviation: float, device: torch.device
) -> Images:
    """Images from arrays; on the CPU they share the arrays' memory."""
    return Images(
        pixels=_tensor(pixels).to(device),
        labels=_tensor(labels).to(device=device, dtype=torch.int64),
        mean=mean,
        deviation=deviation,
    )


def _tensor(array: np.ndarray) -> Tensor:
    with warnings.catch_warnings():  # a memory-mapped array is read-only; nothing writes to it
        warnings.filterwarnings("ignore", "The given NumPy array is not writable")
        return torch.from_numpy(array)


def fit(
    build: Callable[[], nn.Module],
    recipe: Recipe,
    training: Images,
    validation: Images,
    *,
    epochs: int,
    seed: int,
    autocast: bool,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Fit:
    """Train a fresh network for a fixed number of epochs.

    Each epoch draws its random numbers from (seed, epoch) alone, so an epoch can be repeated
    without those before it. The steps of an epoch use whole batches only; what is left over
    differs from epoch to epoch with the order.

    Args:
        build: Makes the network, on the CPU, from torch's global generator.
        recipe: The schedule is laid out over ``epochs``.
        training: Drawn from without augmentation of its own.
        validation: On the same device.
        epochs: How many, from 1.
        seed: Of initial weights, order, augmentation and dropout.
        autocast: Run convolutions and matrix products in bfloat16.
        on_epoch: Called after every epoch; what it raises ends the training.
        should_stop: Asked before every step.

    Raises:
        TrainingError: If the loss of an epoch is not finite.
        InterruptedTraining: If ``should_stop`` said so.
    """
    device = training.pixels.device
    torch.manual_seed(mix_seed(seed, "weights"))
    model = build().to(device).to(memory_format=torch.channels_last)
    trainer = _Trainer(model, recipe, training, epochs=epochs, autocast=autocast)
    curve: list[Epoch] = []
    for number in range(1, epochs + 1):
        started = time.perf_counter()
        training_loss = trainer.epoch(number, seed, should_stop)
        with trainer.averaged_weights():
            accuracy, loss = evaluate(model, validation, autocast=autocast)
        curve.append(
            Epoch(
                number=number,
                accuracy=accuracy,
                loss=loss,
                training_loss=training_loss,
                seconds=time.perf_counter() - started,
            )
        )
        on_epoch(curve[-1])
    trainer.keep_average()
    return Fit(model=model, epochs=curve)


def evaluate(model: nn.Module, images: Images, *, autocast: bool) -> tuple[float, float]:
    """Accuracy in [0, 1] and mean cross entropy of a network on all images, without dropout."""
    model.eval()
    device = images.pixels.device
    right = torch.zeros((), device=device, dtype=torch.int64)
    loss = torch.zeros((), device=device)
    with torch.inference_mode(), _autocast(device, autocast):
        for start in range(0, len(images.labels), VALIDATION_BATCH):
            labels = images.labels[start : start + VALIDATION_BATCH]
            pixels = images.pixels[start : start + VALIDATION_BATCH].unsqueeze(1)
            logits = model(images.normalised(pixels)).float()
            right += (logits.argmax(dim=1) == labels).sum()
            loss += functional.cross_entropy(logits, labels, reduction="sum")
    count = len(images.labels)
    return right.item() / count, loss.item() / count


def _autocast(device: torch.device, enabled: bool) -> torch.autocast:
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=enabled)


class _Trainer:
    """A network with its optimiser and averaged weights, run an epoch at a time."""

    def __init__(
        self, model: nn.Module, recipe: Recipe, training: Images, *, epochs: int, autocast: bool
    ) -> None:
        self._model = model
        self._recipe = recipe
        self._training = training
        self._autocast = autocast
        self._device = training.pixels.device
        self._batch = min(recipe.batch_size, len(training.labels))
        self._steps = len(training.labels) // self._batch
        self._total_steps = self._steps * epochs
        self._parameters, self._gradients = _flatten(list(model.parameters()))
        self._optimizer = _optimizer(recipe, self._parameters)
        floats = [b for b in model.buffers() if b.is_floating_point()]
        self._buffers = _flatten_buffers(floats)
        self._averages: list[Tensor] = []
        if recipe.average_decay:
            self._averages = [t.detach().clone() for t in (self._parameters, self._buffers)]

    def epoch(self, number: int, seed: int, should_stop: Callable[[], bool]) -> float:
        """One pass over the training images; returns the mean loss of its steps."""
        recipe, data = self._recipe, self._training
        torch.manual_seed(mix_seed(seed, number, "dropout"))
        generator = torch.Generator(self._device).manual_seed(mix_seed(seed, number, "order"))
        order = torch.randperm(len(data.labels), generator=generator, device=self._device)
        total = torch.zeros((), device=self._device)
        self._model.train()
        for i in range(self._steps):
            if should_stop():
                raise InterruptedTraining
            step = (number - 1) * self._steps + i
            chosen = order[i * self._batch : (i + 1) * self._batch]
            pixels = data.pixels[chosen].unsqueeze(1).float()
            if recipe.augmentation.active:
                pixels = distort(pixels, recipe.augmentation, generator)
            with _autocast(self._device, self._autocast):
                logits = self._model(data.normalised(pixels))
            loss = functional.cross_entropy(
                logits.float(), data.labels[chosen], label_smoothing=recipe.label_smoothing
            )
            self._gradients.zero_()
            loss.backward()  # type: ignore[no-untyped-call]
            self._optimizer.param_groups[0]["lr"] = recipe.rate(
                step, self._total_steps, self._steps
            )
            self._optimizer.step()
            self._average(step)
            total += loss.detach()
        mean = total.item() / self._steps
        if not np.isfinite(mean):
            raise TrainingError(f"loss is not finite at epoch {number}")
        return mean

    def _average(self, step: int) -> None:
        """Move the averages towards the weights; the decay rises from 0.1 as the run warms up.

        The ramp (1 + step) / (10 + step) is that of TensorFlow's ExponentialMovingAverage.
        """
        decay = min(self._recipe.average_decay, (1 + step) / (10 + step))
        for average, now in zip(self._averages, (self._parameters, self._buffers), strict=False):
            average.lerp_(now.detach(), 1 - decay)

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The averages in the network's place for a while, if the recipe averages."""
        current = [t.detach().clone() for t in (self._parameters, self._buffers)]
        self.keep_average()
        try:
            yield
        finally:
            _copy(current, (self._parameters, self._buffers))

    def keep_average(self) -> None:
        """Put the averages into the network for good, if the recipe averages."""
        _copy(self._averages, (self._parameters, self._buffers))


def _copy(sources: list[Tensor], targets: tuple[Tensor, ...]) -> None:
    with torch.no_grad():
        for source, target in zip(sources, targets, strict=False):
            target.copy_(source)


def _optimizer(recipe: Recipe, parameters: Tensor) -> torch.optim.Optimizer:
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            [parameters],
            lr=rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=decay,
            fused=True,
        )
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind([parameters], lr=rate, weight_decay=decay, fused=True)


def _flatten(parameters: list[nn.Parameter]) -> tuple[nn.Parameter, Tensor]:
    """Move parameters and their gradients into two flat tensors, of which they become views.

    One optimiser step on the flat tensor then costs a handful of kernels however many layers.
    """
    flat = nn.Parameter(_storage(list(parameters)))
    flat.grad = torch.zeros_like(flat)
    for parameter, value, gradient in zip(
        parameters, _views(flat.data, parameters), _views(flat.grad, parameters), strict=True
    ):
        value.copy_(parameter.data)
        parameter.data = value
        parameter.grad = gradient
    return flat, flat.grad


def _flatten_buffers(buffers: list[Tensor]) -> Tensor:
    flat = _storage(buffers)
    for buffer, value in zip(buffers, _views(flat, buffers), strict=True):
        value.copy_(buffer)
        buffer.data = value
    return flat


def _storage(tensors: list[Tensor]) -> Tensor:
    total = sum(tensor.numel() for tensor in tensors)
    if not tensors:
        return torch.zeros(0)
    return torch.zeros(total, dtype=tensors[0].dtype, device=tensors[0].device)


def _views(flat: Tensor, like: list[nn.Parameter] | list[Tensor]) -> Iterator[Tensor]:
    """Slices of a flat tensor with the shapes and the memory order of others."""
    offset = 0
    for tensor in like:
        yield flat[offset : offset + tensor.numel()].as_strided(
            tensor.shape, tensor.stride(), offset
        )
        offset += tensor.numel()
