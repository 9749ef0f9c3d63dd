"""A residual network with GELU and GroupNorm: python search/run.py --space examples/residual.py"""

from torch import nn

from search.candidates.candidate import Candidate
from search.training.recipe import Augmentation, Recipe


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(1, width)

    def forward(self, x):
        return x + nn.functional.gelu(self.norm(self.conv(x)))


def suggest(trial, problem, limits):
    width = trial.suggest_int("width", 4, 32, log=True)
    blocks = trial.suggest_int("blocks", 1, 4)
    rate = trial.suggest_float("learning_rate", 3e-4, 1e-2, log=True)

    def build():
        stem = nn.Conv2d(problem.channels, width, 5, stride=2, padding=2)
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, problem.classes)]
        return nn.Sequential(stem, *(Residual(width) for _ in range(blocks)), *head)

    recipe = Recipe(optimizer="adamw", learning_rate=rate, augmentation=Augmentation(shift=2.0))
    return Candidate(build=build, recipe=recipe, name=f"{blocks} × {width}, {rate:.2g}")
