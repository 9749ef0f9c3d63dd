"""Depthwise-separable convolutions with squeeze-and-excitation.

After MobileNet (Howard et al. 2017, arXiv:1704.04861) and SENet (Hu et al. 2018, arXiv:1709.01507).

python search/run.py --space examples/depthwise.py --storage depthwise.db --max-macs 1_000_000
"""

import torch
from torch import nn

from search.candidates.candidate import Candidate
from search.training.recipe import Augmentation, Recipe


class SqueezeAndExcitation(nn.Module):
    """Weighs each channel by what the means of all channels say."""

    def __init__(self, channels: int, reduction: int) -> None:
        super().__init__()
        hidden = max(1, channels // reduction)
        self.weigh = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.ReLU(),
            nn.Conv2d(hidden, channels, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weigh(x)


def separable(channels: int, outputs: int, stride: int) -> list[nn.Module]:
    """A depthwise and a 1x1 convolution, each with BatchNorm and ReLU."""
    return [
        nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU(),
        nn.Conv2d(channels, outputs, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(),
    ]


def suggest(trial, problem, limits):
    width = trial.suggest_int("width", 8, 32, log=True)
    growth = trial.suggest_float("growth", 1.2, 2.5)  # of the width from one stage to the next
    depth = trial.suggest_int("depth", 1, 3)  # blocks of a stage
    reduction = trial.suggest_categorical("squeeze", [0, 4, 8])  # 0: none
    rate = trial.suggest_float("learning_rate", 0.02, 0.3, log=True)
    strength = trial.suggest_float("augmentation", 0.0, 1.0)

    def build() -> nn.Module:
        layers: list[nn.Module] = [nn.Conv2d(problem.channels, width, 3, padding=1, bias=False)]
        layers += [nn.BatchNorm2d(width), nn.ReLU()]
        channels = width
        for stage in range(2):
            outputs = round(width * growth ** (stage + 1))
            for block in range(depth):
                layers += separable(channels, outputs, stride=1 + (block == 0))
                channels = outputs
            layers += [SqueezeAndExcitation(channels, reduction)] if reduction else []
        head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, problem.classes)]
        return nn.Sequential(*layers, *head)

    recipe = Recipe(
        learning_rate=rate,
        average_decay=0.995,
        augmentation=Augmentation(rotation=12 * strength, shift=2 * strength, final=0.2),
    )
    squeezed = f", squeeze 1/{reduction}" if reduction else ""
    name = f"2x{depth} separable, {width} growing by {growth:.2f}{squeezed}, rate {rate:.2g}"
    return Candidate(build=build, recipe=recipe, name=name)
