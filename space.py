"""WHAT is searched: one function, which draws a candidate from a trial.

Edit this file to search something else. ``suggest`` must be there; it may draw what it likes with
Optuna's ``trial.suggest_...`` and return any ``LayeredCandidate`` of the layers in
``search/architecture``. A candidate that is over a limit is pruned before it is trained: drawing
and counting one takes milliseconds, and nothing is built for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.architecture.candidate import LayeredCandidate
from search.architecture.counting import layer_table
from search.architecture.layers import ROTATIONS, TTA, Conv, Deskew, Dropout, Head, Layer
from search.training.recipe import Augmentation, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial

    from search.architecture.limits import Limits
    from search.data.problem import Problem


def suggest(trial: BaseTrial, problem: Problem, limits: Limits) -> LayeredCandidate:
    """Draw a candidate: three stages of 3x3 convolutions with max pooling between them.

    What is drawn is a shape, the depths of the stages and the ratios of their widths, and its size,
    the share of the limit that it may use (all of it up to 10,000). The widths follow: they are the
    largest of that shape and size. So a deeper network is a narrower one, and a sampler that has
    learned good widths for one depth may try another depth without leaving the limit.

    The convolutions of a stage share a width, but for the first of all: it sees one channel and
    the largest map, and may be narrower. A 1x1 convolution may follow the first stage. Only the
    last stage is padded, where maps have two to five pixels a side: elsewhere padding costs more
    and classifies no better. Pooling comes before BatchNorm and ReLU, which leaves them a quarter
    of the work. The evidence for this and for the ranges is in docs/log/.

    Every parameter is drawn in every trial, those that the drawn depth leaves unused included:
    a parameter that some trials lack would drop out of the sampler's joint model for good.

    Up to 10,000 parameters it is capacity that is short: all of it may be used, there is hardly any
    dropout and no 1x1 convolution, handwriting is deskewed, there may be test-time augmentation,
    filters may be in four rotations, and the classifier weighs the positions of the last map.
    Above, the size is drawn, and batch size and weight decay are larger.

    Args:
        trial: Draws the parameters.
        problem: What the images are: how many classes, and whether their slant says nothing.
        limits: What a candidate may cost.
    """
    max_params = limits.max_params
    large = max_params > 10_000  # what overfits gains by larger batches and more decay
    depths = (
        trial.suggest_int("depth_1", 2, 3),
        trial.suggest_int("depth_2", 1, 3),
        trial.suggest_int("depth_3", 1, 2),
    )
    narrow, wide = (1.0, 3.0) if large else (2.0, 4.5)
    ratios = Ratios(
        first=trial.suggest_float("width_first_to_1", 0.4, 1.2 if large else 0.9, log=True),
        second=trial.suggest_float("width_2_to_1", narrow, wide, log=True),
        third=trial.suggest_float("width_3_to_1", narrow, wide, log=True),
    )
    squeeze, rotated, head = None, False, Head(classes=problem.classes)
    before: tuple[Layer, ...] = ()
    if large:
        to_1 = trial.suggest_float("squeeze_to_1", 0.7, 2.0, log=True)
        squeeze = to_1 if trial.suggest_int("squeeze", 0, 1) else None
    else:
        before = (Deskew(),) * problem.handwriting
        before += (TTA(),) * trial.suggest_int("views", 0, 1)
        rotated = trial.suggest_int("rotated", 0, 1) == 1
        head = Head(kind="depthwise-linear", classes=problem.classes)
    size = trial.suggest_float("size", 0.4, 1.0) if large else 1.0
    most = 0.05 * math.sqrt(max_params / 20_000) if large else 0.02 * max_params / 20_000
    dropout = trial.suggest_float("dropout", 0.0, min(most, 0.5))
    strength = trial.suggest_float("augmentation", 0.5, 1.2)
    recipe = Recipe(
        learning_rate=trial.suggest_float("learning_rate", 0.05, 0.25, log=True),
        weight_decay=5e-4 if large else 3e-4,
        batch_size=192 if large else 128,
        average_decay=0.995,
        augmentation=Augmentation(  # fading to a fifth: six seeds with and without in docs/log/
            rotation=15.0 * strength, shift=2.5 * strength, scale=0.15 * strength, final=0.2
        ),
    )

    def made(width: float, ratios: Ratios) -> LayeredCandidate:
        layers = _stages(depths, ratios, squeeze, width, dropout, rotated=rotated)
        return LayeredCandidate(layers=(*before, *layers), head=head, recipe=recipe)

    def fits(candidate: LayeredCandidate) -> bool:
        most_macs = size * (limits.max_macs or math.inf)
        rows = layer_table(candidate)
        return (
            sum(row.parameters for row in rows) <= size * max_params
            and sum(row.macs for row in rows) <= most_macs
        )

    # The counts only rise with the width of the first stage, and with each ratio.
    width = _largest(1.0, 512.0, lambda width: fits(made(width, ratios)))
    if not large:  # what rounding has left is for the third stage
        third = _largest(
            ratios.third, 512.0, lambda third: fits(made(width, replace(ratios, third=third)))
        )
        ratios = replace(ratios, third=third)
    return made(width, ratios)


def _largest(low: float, high: float, fits: Callable[[float], bool]) -> float:
    """The largest number between two that fits, within 0.2 per cent; the lower one if none does."""
    while high / low > 1.002:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """Widths in units of the first stage's."""

    first: float  # of the very first convolution
    second: float  # of the second stage
    third: float


def _stages(
    depths: tuple[int, int, int],
    ratios: Ratios,
    squeeze: float | None,
    width: float,
    dropout: float,
    *,
    rotated: bool,
) -> tuple[Layer, ...]:
    def channels(ratio: float) -> int:
        if rotated:
            return max(1, round(width * ratio / ROTATIONS)) * ROTATIONS
        return max(2, round(width * ratio))

    layers: list[Layer] = []
    for stage, (depth, ratio) in enumerate(
        zip(depths, (1.0, ratios.second, ratios.third), strict=True)
    ):
        last = stage == len(depths) - 1
        for i in range(depth):
            pools = not last and i == depth - 1
            own = ratios.first if stage == i == 0 else ratio
            layers.append(
                Conv(width=channels(own), padding=int(last), early_pool=pools, rotated=rotated)
            )
        layers.append(Dropout(rate=dropout))
        if stage == 0 and squeeze is not None:
            layers.append(Conv(width=channels(squeeze), kernel=1))
    return tuple(layers)
