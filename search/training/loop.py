"""Trains a network by a recipe on images that stay on one device, and validates every epoch."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.parameter import is_lazy
from torch.profiler import record_function

from search.common.errors import InterruptedTraining, TrainingError
from search.common.seeds import mix_seed
from search.data.images import Images
from search.layers.deskew import Deskew, moments
from search.layers.test_time_augmentation import MeanOfCopies, ShiftedCopies
from search.training.arithmetic import FLOAT32, Arithmetic
from search.training.augmentation import brighten, cut_out, distort
from search.training.epoch import Epoch
from search.training.exact import has_hooks, is_exactly
from search.training.network import Network, make_network
from search.training.recipe import Augmentation, Recipe
from search.training.tensors import is_dense, load_state, state_of, tensors_of

STATE_FORMAT = 3  # of ``TrainingRun.state``; one of another is not gone on from
VALIDATION_BATCH = 400  # images; the activations of larger ones fall out of a CPU core's cache


@dataclass(frozen=True, kw_only=True)
class Fit:
    """A trained network, with averaged weights where the recipe averages, and its curve."""

    model: nn.Module
    epochs: list[Epoch]


class TrainingRun:
    """The training of a fresh network for a fixed number of epochs, an epoch at a time.

    Each epoch draws its random numbers from (seed, epoch) alone. The steps of an epoch use whole
    batches only; which images are left over differs from epoch to epoch with the order.

    Of a network that begins with ``Deskew`` the rest is trained: what distorts the images deskews
    them too. ``ShiftedCopies`` are left out of the training, which moves images anyway. What is
    validated is the whole network.

    Args:
        build: Makes the network, on the CPU, from torch's global generator.
        recipe: The schedule is laid out over ``epochs``.
        training: Without distortion; the recipe's is applied batch by batch.
        validation: On the same device; None trains without looking.
        epochs: How many, from 1.
        seed: Of initial weights, order, augmentation and dropout.
        arithmetic: Precision and kernels.
    """

    def __init__(
        self,
        build: Callable[[], nn.Module],
        recipe: Recipe,
        training: Images,
        validation: Images | None,
        *,
        epochs: int,
        seed: int,
        arithmetic: Arithmetic = FLOAT32,
    ) -> None:
        self.curve: list[Epoch] = []
        self.length = epochs
        self._seed = seed
        self._validation = validation
        torch.manual_seed(mix_seed(seed, "weights"))
        device = training.pixels.device
        model = build().to(device)
        _make_lazy_layers(model, training)
        self.model = model.to(memory_format=torch.channels_last)
        trained, upright = without_surroundings(self.model)
        self._trainer = Trainer(
            trained, recipe, training, epochs=epochs, arithmetic=arithmetic, upright=upright
        )
        self._judged = self._trainer.network
        if trained is not self.model:
            self._judged = make_network(self.model, arithmetic, device)

    def epochs(self, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Epoch]:
        """Train the epochs that are left; after the last the model has its averaged weights.

        Args:
            should_stop: Asked before every step.

        Raises:
            TrainingError: If the mean loss of an epoch is not finite.
            InterruptedTraining: If ``should_stop`` said so.
        """
        for number in range(len(self.curve) + 1, self.length + 1):
            started = time.perf_counter()
            training_loss = self._trainer.epoch(number, self._seed, should_stop)
            found = Evaluation(math.nan, math.nan, math.nan)
            if self._validation is not None:
                with self._trainer.averaged_weights(), record_function("validation"):
                    found = evaluate(self._judged, self._validation)
            self.curve.append(
                Epoch(
                    number=number,
                    **found._asdict(),
                    training_loss=training_loss,
                    seconds=time.perf_counter() - started,
                )
            )
            yield self.curve[-1]
        self._trainer.keep_average()

    def state(self) -> dict[str, Any]:
        """All that later epochs depend on, beside what the run was made with."""
        curve = [dataclasses.asdict(epoch) for epoch in self.curve]
        return {"trainer": self._trainer.state(), "curve": curve}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` gave of a run that was made with the same.

        On the CPU what follows is bit-equal to what would have been without the interruption.
        """
        self._trainer.load_state(state["trainer"])
        self.curve = [Epoch(**values) for values in state["curve"]]


def fit(
    build: Callable[[], nn.Module],
    recipe: Recipe,
    training: Images,
    validation: Images | None,
    *,
    epochs: int,
    seed: int,
    arithmetic: Arithmetic = FLOAT32,
    on_epoch: Callable[[Epoch], None] = lambda epoch: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Fit:
    """Train a fresh network from start to end; see ``TrainingRun``.

    Args:
        build: As ``TrainingRun``'s, and so are those that follow.
        recipe: Of the training.
        training: Images.
        validation: Images, or None.
        epochs: How many.
        seed: Of all that is drawn.
        arithmetic: Precision and kernels.
        on_epoch: Called after every epoch; what it raises ends the training.
        should_stop: Asked before every step.

    Raises:
        TrainingError: If the mean loss of an epoch is not finite.
        InterruptedTraining: If ``should_stop`` said so.
    """
    run = TrainingRun(
        build, recipe, training, validation, epochs=epochs, seed=seed, arithmetic=arithmetic
    )
    for epoch in run.epochs(should_stop):
        on_epoch(epoch)
    return Fit(model=run.model, epochs=run.curve)


def without_surroundings(model: nn.Module) -> tuple[nn.Module, bool]:
    """What of a network is trained, and whether images are deskewed for it.

    ``Deskew`` and then ``ShiftedCopies`` may begin a plain sequence, and ``MeanOfCopies`` end it:
    without them it computes the same from images that are upright, for one copy.
    """
    if type(model) is not nn.Sequential or has_hooks(model):
        return model, False
    layers = list(model)
    deskews = bool(layers) and is_exactly(layers[0], Deskew)
    inner = layers[deskews:]
    if (
        len(inner) > 1
        and is_exactly(inner[0], ShiftedCopies)
        and is_exactly(inner[-1], MeanOfCopies)
    ):
        inner = inner[1:-1]
    return (nn.Sequential(*inner), deskews) if len(inner) < len(layers) else (model, False)


def _make_lazy_layers(model: nn.Module, images: Images) -> None:
    """Let layers that take their shapes from what they see first (``nn.LazyLinear``) see it."""
    if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        with torch.no_grad():
            model.eval()(images.normalised(images.pixels[:2]))


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


class Trainer:
    """A network with its optimiser and averaged weights, run an epoch at a time.

    Between the first and the last step of an epoch nothing waits for the device: no value is
    copied to the host, and the loss is summed up where it is.
    """

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        training: Images,
        *,
        epochs: int,
        arithmetic: Arithmetic,
        upright: bool = False,
    ) -> None:
        self._recipe = recipe
        self._training = training
        self._moments = moments(training.pixels) if upright else None
        self._device = training.pixels.device
        self._batch = recipe.batch_within(len(training))
        self._steps = len(training) // self._batch
        self._total_steps = self._steps * epochs
        self._model = model
        self._tensors = tensors_of(model)
        self._optimizer = make_optimizer(recipe, self._tensors.parameters)
        self._averages = self._tensors.copy() if recipe.average_decay else []
        self.network = make_network(model, arithmetic, self._device)

    def epoch(self, number: int, seed: int, should_stop: Callable[[], bool]) -> float:
        """One pass over the training images; returns the mean loss of its steps."""
        torch.manual_seed(mix_seed(seed, number, "dropout"))
        generator = torch.Generator(self._device).manual_seed(mix_seed(seed, number, "order"))
        order = torch.randperm(len(self._training), generator=generator, device=self._device)
        total = torch.zeros((), device=self._device)
        for i in range(self._steps):
            if should_stop():
                raise InterruptedTraining
            chosen = order[i * self._batch : (i + 1) * self._batch]
            step = (number - 1) * self._steps + i
            total += self.step(step, chosen, generator, mix_seed(seed, step, "masks"))
        mean = total.item() / self._steps
        if not math.isfinite(mean):
            raise TrainingError(f"loss is not finite at epoch {number}")
        return mean

    def step(
        self, step: int, chosen: Tensor, generator: torch.Generator | None, mask_seed: int
    ) -> Tensor:
        """One step on the images of some indices ``[B]`` int64; returns its loss."""
        amounts = self._recipe.augmentation.at(step / self._total_steps)
        loss = self.loss(chosen, amounts, generator, mask_seed)
        with record_function("backward"):
            self._tensors.forget_gradients()
            loss.backward()  # type: ignore[no-untyped-call]
        with record_function("optimiser"):
            rate = self._recipe.rate(step, self._total_steps, self._steps)
            self._optimizer.param_groups[0]["lr"] = rate
            self._optimizer.step()
            if self._averages:
                self._tensors.average_into(self._averages, 1 - self._decay(step))
        return loss.detach()

    def loss(
        self,
        chosen: Tensor,
        amounts: Augmentation,
        generator: torch.Generator | None,
        mask_seed: int,
    ) -> Tensor:
        """The mean loss of some images, distorted by amounts, with dropout by a seed."""
        recipe, data = self._recipe, self._training
        with record_function("augmentation"):
            pixels = data.pixels[chosen].float()
            of_chosen = None if self._moments is None else self._moments[chosen]
            if amounts.moves or of_chosen is not None:
                pixels = distort(pixels, amounts, generator, of_chosen)
            if amounts.brightness:
                pixels = brighten(pixels, amounts.brightness, generator)
            images = data.normalised(pixels)
            if amounts.cutout:
                images = cut_out(images, amounts.cutout, generator)
        with record_function("forward"):
            logits = self.network(images, mask_seed)
            return functional.cross_entropy(
                logits, data.labels[chosen], label_smoothing=recipe.label_smoothing
            )

    def state(self) -> dict[str, Any]:
        """All that later epochs depend on, beside the seed: tensors and plain values."""
        return {
            "network": state_of(self._model),
            "averages": self._averages,
            "optimizer": self._optimizer.state_dict(),
        }

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` gave."""
        load_state(self._model, state["network"])
        for average, saved in zip(self._averages, state["averages"], strict=True):
            average.copy_(saved)
        self._optimizer.load_state_dict(state["optimizer"])

    def _decay(self, step: int) -> float:
        """The averages' decay; it rises from 0.1 to the recipe's as the run warms up.

        The ramp (1 + step) / (10 + step) is that of TensorFlow's ExponentialMovingAverage.
        """
        return min(self._recipe.average_decay, (1 + step) / (10 + step))

    @contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """The averages in the network's place for a while, if the recipe averages."""
        current = self._tensors.copy()
        self.keep_average()
        try:
            yield
        finally:
            self._tensors.load(current)

    def keep_average(self) -> None:
        """Put the averages into the network for good, if the recipe averages."""
        if self._averages:
            self._tensors.load(self._averages)


def make_optimizer(recipe: Recipe, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """The recipe's optimiser, in fused kernels where the device has them."""
    # Torch's fused kernels read a tensor's memory from end to end, gaps or not.
    fused_kernels = all(p.device.type in ("cpu", "cuda") and is_dense(p) for p in parameters)
    rate, decay = recipe.learning_rate, recipe.weight_decay
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            parameters,
            lr=rate,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=decay,
            fused=fused_kernels,
        )
    kind = torch.optim.Adam if recipe.optimizer == "adam" else torch.optim.AdamW
    return kind(parameters, lr=rate, weight_decay=decay, fused=fused_kernels)
