"""WHAT is searched: one function, which draws a candidate from a trial.

Edit this file, or write another and name it with ``--space``. ``suggest`` must be there; it draws
what it likes with Optuna's ``trial.suggest_...`` and returns a candidate: a network of any kind
(``search.candidates.candidate.Candidate``; see ``examples/``) or, as here, one of the layers in
``search/architecture``. A candidate that is over a limit is pruned before it is trained.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.architecture.candidate import LayeredCandidate
from search.architecture.counting import flash_bytes, layer_table
from search.architecture.layers import ROTATIONS, TTA, Conv, Deskew, Dropout, Head, Layer
from search.training.recipe import Augmentation, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

    from search.architecture.limits import Limits
    from search.data.problem import Problem

LEAST_WORK = 1_000_000  # multiply-accumulates of one pass that are always allowed, up to 28x28
WORK_OF_A_PARAMETER = 50  # and so many for each parameter of the limit, where that is more
WORK_OF_THINGS = 4  # so many times as much for images that are not handwriting


def suggest(trial: BaseTrial, problem: Problem, limits: Limits) -> LayeredCandidate:
    """Draw a candidate: stages of 3x3 convolutions with max pooling between them.

    What is drawn is a shape, the depths of the stages and the ratios of their widths, and its size,
    the share of the limit that it may use. The widths follow: they are the largest of that shape
    and size. So a deeper network is a narrower one, and a sampler that has learned good widths for
    one depth may try another depth without leaving the limit. Work is bounded too: filters in four
    rotations share their parameters and would else make a network four times as slow. Images of
    things may take four times the work of digits, without which they cannot use the parameters.

    The convolutions of a stage share a width, but for the first of all: it sees the image's
    channels and the largest map, and may be narrower. There are as many stages as leave a map of
    seven pixels or more to the last one, and pooling comes before BatchNorm and ReLU, which leaves
    them a quarter of the work. From the third stage on, and in the last, maps are padded: they are
    small. On digits padding elsewhere costs more and classifies no better; on other images it is
    drawn. The evidence for this and for the ranges is in docs/log/.

    Every parameter is drawn in every trial, those that the drawn shape leaves unused included:
    a parameter that some trials lack would drop out of the sampler's joint model for good.

    Args:
        trial: Draws the parameters.
        problem: What the images are: their shape, how many classes, and whether they are
            handwriting, whose slant says nothing and which may not be mirrored.
        limits: What a candidate may cost.
    """
    stages = 1 + pools_of(problem.input_shape)
    depths = tuple(
        trial.suggest_int(f"depth_{i}", *((2, 3) if i == 1 else (1, 3) if i == 2 else (1, 2)))
        for i in range(1, stages + 1)
    )
    first = trial.suggest_float("width_first_to_1", 0.4, 1.0, log=True)
    ratios = tuple(
        trial.suggest_float(f"width_{i}_to_1", 1.5, 4.5, log=True) for i in range(2, stages + 1)
    )
    size = trial.suggest_float("size", 0.5, 1.0)
    rotated = trial.suggest_int("rotated", 0, 1) == 1
    padded = not problem.handwriting and trial.suggest_int("padded", 0, 1) == 1
    grey = problem.input_shape[0] == 1
    deskew = problem.handwriting and grey and trial.suggest_int("deskew", 0, 1) == 1
    before: tuple[Layer, ...] = (Deskew(),) * deskew
    before += (TTA(),) * trial.suggest_int("tta", 0, 1)
    kinds = ("gap-linear", "depthwise-linear")
    head = Head(kind=kinds[trial.suggest_int("depthwise_head", 0, 1)], classes=problem.classes)
    most = min(0.03 * limits.parameters / 20_000, 0.3)  # what is small learns nothing by heart
    dropout = trial.suggest_float("dropout", 0.0, most)
    recipe = Recipe(
        learning_rate=trial.suggest_float("learning_rate", 0.05, 0.25, log=True),
        weight_decay=trial.suggest_float("weight_decay", 2e-4, 8e-4, log=True),
        batch_size=batch_size_of(limits.parameters),
        average_decay=0.995,
        augmentation=_augmentation(trial, problem),
    )
    shape = Shape(depths=depths, first=first, ratios=(1.0, *ratios), rotated=rotated, padded=padded)

    def made(width: float, shape: Shape) -> LayeredCandidate:
        layers = (*before, *_layers(shape, width, dropout))
        return LayeredCandidate(
            layers=layers, head=head, recipe=recipe, input_shape=problem.input_shape
        )

    _, height, width = problem.input_shape
    copies = 3 if TTA() in before else 1
    work = float(max(LEAST_WORK, WORK_OF_A_PARAMETER * limits.parameters))
    work *= max(1.0, height * width / 28**2) * (1 if problem.handwriting else WORK_OF_THINGS)
    most_values = limits.max_ram or math.inf  # of an int8 network: a byte each
    most_flash = size * (limits.max_flash or math.inf)
    most_macs = min(copies * work, size * (limits.max_macs or math.inf))

    def fits(candidate: LayeredCandidate) -> bool:
        rows = layer_table(candidate)
        return (
            sum(row.parameters for row in rows) <= size * limits.parameters
            and sum(row.macs for row in rows) <= most_macs
            and flash_bytes(candidate) <= most_flash
            and max(row.input_values + row.output_values for row in rows) <= most_values
        )

    # The counts only rise with the width of the first stage, and with each ratio.
    base = _largest(1.0, 512.0, lambda width: fits(made(width, shape)))
    # What rounding has left is for the last stage.
    last = shape.ratios[-1]
    last = _largest(last, 1.5 * last, lambda ratio: fits(made(base, shape.with_last(ratio))))
    return made(base, shape.with_last(last))


def pools_of(input_shape: tuple[int, ...]) -> int:
    """How often the map is halved: as often as leaves the last stage seven pixels a side or more.

    For 28x28 and 32x32 twice, for 64x64 three times, for 8x8 never.
    """
    return max(0, int(math.log2(min(input_shape[1:]) / 7)))


def batch_size_of(max_params: int) -> int:
    """128 images up to 5,000 parameters, 32 more for each doubling, and at most 256.

    At 20,000 parameters 192 gave 0.05 points more than 128, at 5,000 less (docs/log/recipe.md).
    """
    return round(128 + 32 * min(max(math.log2(max_params / 5_000), 0.0), 4.0))


def _augmentation(trial: BaseTrial, problem: Problem) -> Augmentation:
    """Distortions that leave an image what it is, fading to a fifth (docs/log/recipe.md)."""
    side = min(problem.input_shape[1:])
    strength = trial.suggest_float("augmentation", 0.5 if problem.handwriting else 0.0, 1.2)
    moved = Augmentation(
        rotation=15.0 * strength, shift=2.5 * strength * side / 28, scale=0.15 * strength, final=0.2
    )
    if problem.handwriting:
        return moved
    return replace(
        moved,
        mirror=trial.suggest_int("mirror", 0, 1) == 1,
        brightness=trial.suggest_float("brightness", 0.0, 0.4),
        cutout=trial.suggest_float("cutout", 0.0, 0.4),
    )


def _largest(low: float, high: float, fits: Callable[[float], bool]) -> float:
    """The largest number between two that fits, within 0.2 per cent; the lower one if none does."""
    while high / low > 1.002:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


@dataclass(frozen=True, kw_only=True)
class Shape:
    """All of the convolutions but their size; widths in units of the first stage's."""

    depths: tuple[int, ...]  # convolutions of each stage
    first: float  # width of the very first convolution
    ratios: tuple[float, ...]  # width of each stage
    rotated: bool
    padded: bool  # everywhere, not only where maps are small

    def with_last(self, ratio: float) -> Shape:
        """The same with another width of the last stage."""
        return replace(self, ratios=(*self.ratios[:-1], ratio))


def _layers(shape: Shape, width: float, dropout: float) -> tuple[Layer, ...]:
    def channels(ratio: float) -> int:
        if shape.rotated:
            return max(1, round(width * ratio / ROTATIONS)) * ROTATIONS
        return max(2, round(width * ratio))

    layers: list[Layer] = []
    stages = len(shape.depths)
    for stage, (depth, ratio) in enumerate(zip(shape.depths, shape.ratios, strict=True)):
        last = stage == stages - 1
        for i in range(depth):
            layers.append(
                Conv(
                    width=channels(shape.first if stage == i == 0 and not last else ratio),
                    padding=int(shape.padded or last or stage >= 2),
                    early_pool=not last and i == depth - 1,
                    rotated=shape.rotated,
                )
            )
        layers.append(Dropout(rate=dropout))
    return tuple(layers)
