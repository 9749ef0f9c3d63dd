"""Trains a network by a recipe on images that stay on one device, and validates every epoch."""

from __future__ import annotations

import copy
import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import nn
from torch.nn.parameter import is_lazy
from torch.profiler import record_function

from search.common.errors import TrainingError
from search.common.seeds import mix_seed, seed_all
from search.data.images import Images
from search.layers.deskew import Deskew
from search.layers.test_time_augmentation import MeanOfCopies, ShiftedCopies
from search.training.arithmetic import FLOAT32, Arithmetic
from search.training.epoch import Epoch
from search.training.evaluation import Evaluation, evaluate
from search.training.exact import has_hooks, is_exactly
from search.training.network import Network, make_network, memory_order
from search.training.recipe import Recipe
from search.training.stacked.trial_step import can_be_stacked
from search.training.trainer import Trainer

STATE_FORMAT = 3  # of ``TrainingRun.state``; one of another is not gone on from


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
        self.seed = seed
        self._recipe = recipe
        self._training, self._validation = training, validation
        seed_all(mix_seed(seed, "weights"))
        device = training.pixels.device
        model = build().to(device)
        _make_lazy_layers(model, training)
        if _needs_channels_first(model, training):
            arithmetic = dataclasses.replace(arithmetic, channels_last=False)
        self.arithmetic = arithmetic
        self.model = model.to(memory_format=memory_order(arithmetic))
        self.trained, self._upright = without_surroundings(self.model)
        self._at = 0  # among the networks of its trainer

    @cached_property
    def _trainer(self) -> Trainer:
        return _make_trainer([self])

    @cached_property
    def _judged(self) -> Network:
        alone = not self.arithmetic.stacked
        if alone and self.trained is self.model:
            return self._trainer.network
        return make_network(self.model, self.arithmetic, self._training.pixels.device)

    def epochs(self, should_stop: Callable[[], bool] = lambda: False) -> Iterator[Epoch]:
        """Train the epochs that are left; after the last the model has its averaged weights.

        Args:
            should_stop: Asked before every step.

        Raises:
            TrainingError: If the mean loss of an epoch is not finite, in training or validation.
            InterruptedTraining: If ``should_stop`` said so.
        """
        for (found,) in _train(self._trainer, [self], should_stop):
            if isinstance(found, TrainingError):
                raise found
            yield found

    def state(self) -> dict[str, Any]:
        """All that later epochs depend on, beside what the run was made with."""
        curve = [dataclasses.asdict(epoch) for epoch in self.curve]
        return {"trainer": self._trainer.state(self._at), "curve": curve}

    def load_state(self, state: dict[str, Any]) -> None:
        """Go on from what ``state`` gave of a run that was made with the same.

        On the CPU what follows is bit-equal to what would have been without the interruption.
        """
        self._trainer.load_states([state["trainer"]])
        self.curve = [Epoch(**values) for values in state["curve"]]


def can_train_stacked(make: Callable[[int], TrainingRun]) -> bool:
    """Whether seeds of a network are trained stacked as they are alone; tried by a step.

    Args:
        make: Makes the run of one of two seeds, 0 or 1, anew.
    """
    alone, together = ([make(at) for at in range(2)] for _ in range(2))
    return can_be_stacked(
        [run.trained for run in alone], [run.trained for run in together], alone[0]._training
    )


def train_stacked(
    runs: Sequence[TrainingRun], should_stop: Callable[[], bool] = lambda: False
) -> Iterator[list[Epoch | TrainingError]]:
    """Train several seeds of one architecture as one network, from where they are.

    Each gets what it would alone, within float32's error: the same images in the same order with
    the same distortion, and on a CPU the same dropout.

    Args:
        runs: Of one network, recipe and images, with as many epochs behind each; their arithmetic
            is stacked.
        should_stop: Asked before every step.

    Yields:
        An epoch of each run, with its share of the seconds; or why it has none, from then on: its
        loss is not finite. The others go on.

    Raises:
        InterruptedTraining: If ``should_stop`` said so.
    """
    states = [run.state() for run in runs] if runs[0].curve else []
    trainer = _make_trainer(runs)
    for at, run in enumerate(runs):
        run._trainer, run._at = trainer, at
    if states:
        trainer.load_states([state["trainer"] for state in states])
    return _train(trainer, runs, should_stop)


def _make_trainer(runs: Sequence[TrainingRun]) -> Trainer:
    one = runs[0]
    return Trainer(
        [run.trained for run in runs],
        one._recipe,
        one._training,
        epochs=one.length,
        arithmetic=one.arithmetic,
        upright=one._upright,
    )


def _train(
    trainer: Trainer, runs: Sequence[TrainingRun], should_stop: Callable[[], bool]
) -> Iterator[list[Epoch | TrainingError]]:
    ended: dict[TrainingRun, TrainingError] = {}
    for number in range(len(runs[0].curve) + 1, runs[0].length + 1):
        started = time.perf_counter()
        losses = trainer.epoch(number, [run.seed for run in runs], should_stop)
        for run, loss in zip(runs, losses, strict=True):
            if not math.isfinite(loss):
                ended.setdefault(run, TrainingError(f"loss is not finite at epoch {number}"))
        going = {run: loss for run, loss in zip(runs, losses, strict=True) if run not in ended}
        if not going:
            yield list(ended.values())
            return
        validated = {run: Evaluation(math.nan, math.nan, math.nan) for run in going}
        validation = runs[0]._validation
        if validation is not None:
            with trainer.averaged_weights(), record_function("validation"):
                validated = {run: evaluate(run._judged, validation) for run in going}
            for run, evaluation in validated.items():
                if not math.isfinite(evaluation.loss):
                    why = f"validation loss is not finite at epoch {number}"
                    ended.setdefault(run, TrainingError(why))
        seconds = (time.perf_counter() - started) / len(going)
        for run, loss in going.items():
            if run in ended:
                continue
            figures = validated[run]._asdict()
            run.curve.append(Epoch(number=number, **figures, training_loss=loss, seconds=seconds))
        yield [ended.get(run) or run.curve[-1] for run in runs]
    trainer.keep_average()


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


def _needs_channels_first(model: nn.Module, images: Images) -> bool:
    """Whether a network flattens maps by ``view``, which needs them in torch's own order.

    Tried on a copy of what has modules of others in it. Training in the other order is faster.
    """
    kinds = {type(module).__module__ for module in model.modules()}
    if all(kind.startswith(("torch.nn.modules.", "search.layers.")) for kind in kinds):
        return False
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            tried = copy.deepcopy(model).to(memory_format=torch.channels_last).eval()
            pixels = images.normalised(images.pixels[:2])
            tried(pixels.to(memory_format=torch.channels_last))
    except Exception as error:  # any other comes again, where it is told
        return "view size is not compatible" in str(error)
    return False


def _make_lazy_layers(model: nn.Module, images: Images) -> None:
    """Let layers that take their shapes from what they see first (``nn.LazyLinear``) see it."""
    if any(is_lazy(tensor) for tensor in (*model.parameters(), *model.buffers())):
        with torch.no_grad():
            model.eval()(images.normalised(images.pixels[:2]))
