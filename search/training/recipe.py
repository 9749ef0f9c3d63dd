"""How a network is trained: one frozen value, written into every trial to repeat it from."""

from __future__ import annotations

import math
import reprlib
from dataclasses import dataclass

from search.common.text import counted

OPTIMIZERS = ("sgd", "adam", "adamw")
MOST_EPOCHS = 100_000
LARGEST_SHIFT = 512.0  # pixels: half the side of images of 1,024
SCHEDULES = ("onecycle", "cosine", "step", "constant")


def _within(name: str, value: float, low: float, high: float) -> None:
    if not isinstance(value, int | float):
        raise ValueError(f"{name} must be an int or a float, but got {reprlib.repr(value)}")
    if not low <= value <= high:
        raise ValueError(f"{name} must lie in [{low:g}, {high:g}], but got {reprlib.repr(value)}")


def _whole(name: str, value: int, low: int, high: int) -> None:
    if not isinstance(value, int):
        raise ValueError(f"{name} must be a whole number, but got {reprlib.repr(value)}")
    _within(name, value, low, high)


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"{name} must be one of {', '.join(allowed)}, but got {value!r}")


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Random distortion of the training images, drawn anew for every image and epoch.

    The affine amounts and ``brightness`` are half-widths of uniform distributions around no change;
    all zero switches the distortion off. With ``final`` below 1 all amounts fall linearly over the
    training: images that are not distorted are what the network is tested on. Mirroring does not
    fall: the mirrored images are as likely as the others.
    """

    rotation: float = 0.0  # degrees
    shift: float = 0.0  # pixels, along each axis
    scale: float = 0.0  # share of the size: 0.08 draws factors from 0.92 to 1.08
    mirror: bool = False  # left and right change places in half of the images
    brightness: float = 0.0  # 0.2 multiplies all pixels of an image by 0.8 to 1.2
    cutout: float = 0.0  # share of the sides: a rectangle at a random place becomes the mean pixel
    final: float = 1.0  # share of the amounts that is left at the end of the training

    def __post_init__(self) -> None:
        _within("rotation", self.rotation, 0.0, 180.0)
        _within("shift", self.shift, 0.0, LARGEST_SHIFT)
        _within("scale", self.scale, 0.0, 0.9)
        _within("brightness", self.brightness, 0.0, 1.0)
        _within("cutout", self.cutout, 0.0, 0.9)
        _within("final", self.final, 0.0, 1.0)

    @property
    def active(self) -> bool:
        """Whether any of it is done."""
        return self.moves or bool(self.brightness or self.cutout)

    @property
    def moves(self) -> bool:
        """Whether pixels change their places."""
        return bool(self.rotation or self.shift or self.scale or self.mirror)

    def at(self, progress: float) -> Augmentation:
        """The amounts after a share of the training, in [0, 1]."""
        if self.final == 1.0:
            return self
        share = 1.0 + (self.final - 1.0) * progress
        return Augmentation(
            rotation=share * self.rotation,
            shift=share * self.shift,
            scale=share * self.scale,
            mirror=self.mirror,
            brightness=share * self.brightness,
            cutout=share * self.cutout,
        )


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything of a training run but the network, the data and the seed.

    Raises:
        ValueError: If a setting is out of its range; the message names it and the value.
    """

    learning_rate: float = 0.1  # the peak, for schedules that have one
    optimizer: str = "sgd"  # sgd | adam | adamw
    momentum: float = 0.9  # sgd; Adam's first coefficient is always 0.9
    nesterov: bool = True  # sgd only
    weight_decay: float = 5e-4  # on every parameter; decoupled for adamw
    batch_size: int = 128
    schedule: str = "onecycle"  # onecycle | cosine | step | constant
    warmup: float = 0.2  # onecycle: share of the steps until the peak
    milestones: tuple[int, ...] = ()  # step: the rate falls after these epochs
    gamma: float = 0.1  # step: by this factor
    label_smoothing: float = 0.0
    average_decay: float = 0.0  # moving average of weights, per step; 0 = none
    epochs: int | None = None  # None = as many as the search allows
    augmentation: Augmentation = Augmentation()

    def __post_init__(self) -> None:
        _one_of("optimizer", self.optimizer, OPTIMIZERS)
        _one_of("schedule", self.schedule, SCHEDULES)
        _within("learning_rate", self.learning_rate, 1e-8, 100.0)
        _within("momentum", self.momentum, 0.0, 0.9999)
        _within("weight_decay", self.weight_decay, 0.0, 1.0)
        _whole("batch_size", self.batch_size, 1, 60_000)
        _within("warmup", self.warmup, 0.0, 1.0)
        _within("gamma", self.gamma, 0.0, 1.0)
        _within("label_smoothing", self.label_smoothing, 0.0, 0.9)
        _within("average_decay", self.average_decay, 0.0, 0.99999)
        if self.epochs is not None:
            _whole("epochs", self.epochs, 1, MOST_EPOCHS)
        for milestone in self.milestones:
            _whole("milestones", milestone, 1, MOST_EPOCHS)
        if self.nesterov and self.optimizer == "sgd" and self.momentum == 0.0:
            raise ValueError("nesterov needs a momentum above 0, but got 0.0")

    def epochs_within(self, most: int) -> int:
        """The epochs that are trained where so many are the most."""
        return min(self.epochs or most, most)

    def batch_within(self, images: int) -> int:
        """The images of a batch where so many are trained on."""
        return min(self.batch_size, images)

    def adjusted(self, *, epochs: int, images: int) -> list[str]:
        """What is trained otherwise than this asks, in words: for whoever reads the figures.

        Args:
            epochs: The most that are allowed.
            images: So many are trained on.
        """
        found = []
        trained, batch = self.epochs_within(epochs), self.batch_within(images)
        if trained < (self.epochs or 0):
            found.append(f"{counted(trained, 'epoch')} instead of its recipe's {self.epochs:,}")
        if batch < self.batch_size:
            found.append(f"batches of all {counted(batch, 'image')} instead of {self.batch_size:,}")
        late = [milestone for milestone in self.milestones if milestone >= trained]
        if self.schedule == "step" and late:
            found.append(f"ended before its recipe's milestone at epoch {late[0]:,}")
        return found

    def rate(self, step: int, total_steps: int, steps_per_epoch: int) -> float:
        """The learning rate at a step.

        ``onecycle`` rises linearly over the first ``warmup`` share of the steps and falls by half
        a cosine to a thousandth of the peak (after Smith and Topin 2018, arXiv:1708.07120);
        ``cosine`` is the fall alone (Loshchilov and Hutter 2017, arXiv:1608.03983).

        Args:
            step: From 0 to ``total_steps`` - 1.
            total_steps: Steps of the whole run.
            steps_per_epoch: Steps of one epoch, for the milestones.
        """
        peak = self.learning_rate
        if self.schedule == "constant":
            return peak
        if self.schedule == "step":
            passed = sum(step >= milestone * steps_per_epoch for milestone in self.milestones)
            return peak * self.gamma**passed
        rising = self.warmup * total_steps if self.schedule == "onecycle" else 0.0
        if step < rising:
            return peak * (step + 1) / (rising + 1)
        fall = (step - rising) / max(total_steps - rising, 1.0)
        return peak * (0.001 + 0.999 * 0.5 * (1.0 + math.cos(math.pi * fall)))
