"""The network is fixed: optimiser, learning rate, decay and label smoothing are searched.

python search/run.py --space examples/recipe.py --storage recipe.db
"""

from torch import nn

from search.candidates.candidate import Candidate
from search.training.recipe import Recipe

RATES = {"sgd": (0.01, 0.5), "adam": (3e-4, 0.02), "adamw": (3e-4, 0.02)}


def suggest(trial, problem, limits):
    def build() -> nn.Module:
        return nn.Sequential(
            *(nn.Conv2d(problem.channels, 12, 3), nn.BatchNorm2d(12), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(12, 24, 3), nn.BatchNorm2d(24), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(24, 32, 3), nn.BatchNorm2d(32), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, problem.classes)),
        )

    optimizer = trial.suggest_categorical("optimizer", list(RATES))
    # Where the rate lies in the optimizer's range. A parameter for each optimizer would be drawn in
    # vain by the others, and what differs in it alone would be trained as two candidates.
    low, high = RATES[optimizer]
    rate = low * (high / low) ** trial.suggest_float("rate", 0.0, 1.0)
    recipe = Recipe(
        optimizer=optimizer,
        learning_rate=rate,
        weight_decay=trial.suggest_float("weight_decay", 1e-5, 1e-2, log=True),
        label_smoothing=trial.suggest_float("label_smoothing", 0.0, 0.2),
        schedule=trial.suggest_categorical("schedule", ["onecycle", "cosine"]),
    )
    name = (
        f"{optimizer} {recipe.learning_rate:.2g} {recipe.schedule}, decay {recipe.weight_decay:.1g}"
        f", smoothing {recipe.label_smoothing:.2f}"
    )
    return Candidate(build=build, recipe=recipe, name=name)
