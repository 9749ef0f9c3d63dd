"""A small space of every kind of layer, for tests that are not of the default one."""

from __future__ import annotations

from optuna.trial import BaseTrial

from search.architecture.candidate import LayeredCandidate
from search.architecture.layers import TTA, Conv, Deskew, Dropout, Head, Layer
from search.architecture.limits import Limits
from search.data.problem import Problem
from search.training.recipe import Augmentation, Recipe

KINDS = ("gap-linear", "depthwise-linear")


def suggest(trial: BaseTrial, problem: Problem, limits: Limits) -> LayeredCandidate:
    """Two stages; a third of what it draws is over 20,000 parameters."""
    depth = trial.suggest_int("depth", 1, 2)
    first = trial.suggest_int("width_1", 4, 40, step=4)
    second = trial.suggest_int("width_2", 4, 60, step=4)
    rotated = trial.suggest_int("rotated", 0, 1) == 1
    surrounded = trial.suggest_int("surrounded", 0, 1)
    head = Head(kind=KINDS[trial.suggest_int("depthwise_head", 0, 1)], classes=problem.classes)
    dropout = trial.suggest_float("dropout", 0.0, 0.1)
    strength = trial.suggest_float("augmentation", 0.5, 1.2)
    rate = trial.suggest_float("learning_rate", 0.05, 0.25, log=True)
    before: tuple[Layer, ...] = (Deskew(), TTA()) if surrounded else ()
    stages: tuple[Layer, ...] = (
        *(Conv(width=first, rotated=rotated) for _ in range(depth)),
        Conv(width=first, rotated=rotated, early_pool=True),
        Dropout(rate=dropout),
        *(Conv(width=second, rotated=rotated) for _ in range(depth)),
        Conv(width=second, padding=1, rotated=rotated, early_pool=True),
    )
    recipe = Recipe(
        learning_rate=rate,
        average_decay=0.995,
        augmentation=Augmentation(rotation=15 * strength, shift=2 * strength, final=0.2),
    )
    return LayeredCandidate(
        layers=before + stages, head=head, recipe=recipe, input_shape=problem.input_shape
    )
