"""The steps of a training: a network with its optimiser and averaged weights."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import record_function

from search.common.errors import InterruptedTraining
from search.common.seeds import mix_seed, seed_all
from search.data.images import Images
from search.layers.deskew import moments
from search.training.arithmetic import Arithmetic
from search.training.augmentation import Generators, brighten, cut_out, distort
from search.training.network import Network, make_network
from search.training.recipe import Augmentation, Recipe
from search.training.stacked.network import StackedNetwork
from search.training.stacked.tensors import StackedTensors
from search.training.tensors import Tensors, is_dense, load_state, state_of, tensors_of


class Trainer:
    """A network with its optimiser and averaged weights, run an epoch at a time.

    Or several like networks, stacked: each has the images, the order and the random numbers that
    it would have alone, and all take a step at once.

    Between the first and the last step of an epoch nothing waits for the device: no value is
    copied to the host, and the losses are summed up where they are.

    Args:
        models: One network, or several of one architecture where ``arithmetic`` is stacked.
        recipe: Of the training.
        training: Images, on the networks' device.
        epochs: Of the whole training.
        arithmetic: Precision and kernels.
        upright: Whether what is trained is to see deskewed images.
    """

    def __init__(
        self,
        models: Sequence[nn.Module],
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
        self._models = models
        self._stacked: StackedNetwork | None = None
        self._tensors: Tensors
        self.network: Network
        if arithmetic.stacked:
            self._tensors = tensors = StackedTensors(models)
            self.network = self._stacked = StackedNetwork(models, tensors, arithmetic, self._device)
        else:
            (model,) = models
            self._tensors = tensors_of(model)
            self.network = make_network(model, arithmetic, self._device)
        self._optimizer = make_optimizer(recipe, self._tensors.parameters)
        self._averages = self._tensors.copy() if recipe.average_decay else []

    def epoch(
        self, number: int, seeds: Sequence[int], should_stop: Callable[[], bool]
    ) -> list[float]:
        """One pass over the training images.

        Args:
            number: The epoch's, from 1.
            seeds: Of each network.
            should_stop: Asked before every step.

        Returns:
            The mean loss of each network's steps; may be not finite.

        Raises:
            InterruptedTraining: If ``should_stop`` said so.
        """
        seed_all(mix_seed(seeds[0], number, "dropout"))
        if self._stacked:
            self._stacked.draw_from([mix_seed(seed, number, "dropout") for seed in seeds])
        generators = [
            torch.Generator(self._device).manual_seed(mix_seed(seed, number, "order"))
            for seed in seeds
        ]
        orders = [
            torch.randperm(len(self._training), generator=generator, device=self._device)
            for generator in generators
        ]
        total = torch.zeros(len(seeds), device=self._device)
        for i in range(self._steps):
            if should_stop():
                raise InterruptedTraining
            places = slice(i * self._batch, (i + 1) * self._batch)
            chosen = torch.cat([order[places] for order in orders])
            step = (number - 1) * self._steps + i
            total += self.step(step, chosen, generators, mix_seed(seeds[0], step, "masks"))
        return [one / self._steps for one in total.tolist()]

    def step(self, step: int, chosen: Tensor, generators: Generators, mask_seed: int) -> Tensor:
        """One step.

        Args:
            step: Its number, from 0.
            chosen: Indices of images ``[K * B]`` int64, B for each of K networks in turn.
            generators: Of the distortions.
            mask_seed: Of the dropout of a network that is computed by compiled kernels.

        Returns:
            Its losses ``[K]``.
        """
        amounts = self._recipe.augmentation.at(step / self._total_steps)
        losses = self.losses(chosen, amounts, generators, mask_seed)
        with record_function("backward"):
            self._tensors.forget_gradients()
            losses.sum().backward()  # type: ignore[no-untyped-call]
        with record_function("optimiser"):
            rate = self._recipe.rate(step, self._total_steps, self._steps)
            self._optimizer.param_groups[0]["lr"] = rate
            self._optimizer.step()
            if self._averages:
                self._tensors.average_into(self._averages, 1 - self._decay(step))
        return losses.detach()

    def losses(
        self, chosen: Tensor, amounts: Augmentation, generators: Generators, mask_seed: int
    ) -> Tensor:
        """The mean loss of each network, of images that are distorted by amounts; see ``step``."""
        recipe, data = self._recipe, self._training
        with record_function("augmentation"):
            pixels = data.pixels[chosen].float()
            of_chosen = None if self._moments is None else self._moments[chosen]
            if amounts.moves or of_chosen is not None:
                pixels = distort(pixels, amounts, generators, of_chosen)
            if amounts.brightness:
                pixels = brighten(pixels, amounts.brightness, generators)
            images = data.normalised(pixels)
            if amounts.cutout:
                images = cut_out(images, amounts.cutout, generators)
        with record_function("forward"):
            logits = self.network(images, mask_seed).chunk(len(self._models))
            labels = data.labels[chosen].chunk(len(self._models))
            smoothing = recipe.label_smoothing
            losses = [
                functional.cross_entropy(of, right, label_smoothing=smoothing)
                for of, right in zip(logits, labels, strict=True)
            ]
            return torch.stack(losses)

    def state(self, at: int = 0) -> dict[str, Any]:
        """All that later epochs of a network depend on, beside its seed: tensors and values."""
        optimizer = self._optimizer.state_dict()
        rows = {
            index: {name: self._row(name, value, at) for name, value in values.items()}
            for index, values in optimizer["state"].items()
        }
        return {
            "network": state_of(self._models[at]),
            "averages": [self._row("average", average, at) for average in self._averages],
            "optimizer": {**optimizer, "state": rows},
        }

    def load_states(self, states: Sequence[dict[str, Any]]) -> None:
        """Go on from what ``state`` gave, of each network."""
        for model, state in zip(self._models, states, strict=True):
            load_state(model, state["network"])
        for average, *saved in zip(self._averages, *(s["averages"] for s in states), strict=True):
            average.copy_(self._of_rows("average", list(saved)))
        optimizer = states[0]["optimizer"]
        every = [state["optimizer"]["state"] for state in states]
        whole = {
            index: {
                name: self._of_rows(name, [one[index][name] for one in every]) for name in names
            }
            for index, names in optimizer["state"].items()
        }
        self._optimizer.load_state_dict({**optimizer, "state": whole})

    def _row(self, name: str, value: Any, at: int) -> Any:
        """One network's part of a value that the optimiser or the averages hold."""
        return value[at] if self._stacked and _is_each(name, value) else value

    def _of_rows(self, name: str, rows: list[Any]) -> Any:
        return torch.stack(rows) if self._stacked and _is_each(name, rows[0]) else rows[0]

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


def _is_each(name: str, value: object) -> bool:
    """Whether each of stacked networks has a value of its own; Adam counts steps for all."""
    return isinstance(value, Tensor) and name != "step"


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
