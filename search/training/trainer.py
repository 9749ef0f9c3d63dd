"""The steps of a training: a network with its optimiser and averaged weights."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import record_function

from search.common.errors import InterruptedTraining, TrainingError
from search.common.seeds import mix_seed
from search.data.images import Images
from search.layers.deskew import moments
from search.training.arithmetic import Arithmetic
from search.training.augmentation import brighten, cut_out, distort
from search.training.network import make_network
from search.training.recipe import Augmentation, Recipe
from search.training.tensors import is_dense, load_state, state_of, tensors_of


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
