"""Spaces of a test's own, as files."""

from __future__ import annotations

from pathlib import Path

from search.architecture.limits import Limits
from search.architecture.spaces import Space, read_space
from search.data.problem import MNIST_PROBLEM

BEGIN = """
from torch import nn
from search.candidates.candidate import Candidate
from search.training.recipe import Recipe

def suggest(trial, problem, limits):
"""
END = """
    def build():
        layers = [nn.AvgPool2d(7), nn.Flatten(), nn.Linear(16, width), activation()]
        return nn.Sequential(*layers, nn.Linear(width, problem.classes))
    return Candidate(build=build, recipe=Recipe(learning_rate=rate), name=f"{width} wide")
"""
FIRST = """
    width = trial.suggest_int("width", 4, 16)
    activation = getattr(nn, trial.suggest_categorical("activation", ["ReLU", "GELU"]))
    rate = trial.suggest_float("rate", 0.01, 0.1, log=True)
"""


def space_of(
    folder: Path, draws: str = FIRST, *, above: str = "", max_params: int = 9_999
) -> Space:
    """The space of a file that draws so."""
    path = file_of(folder, draws, above=above)
    limits = Limits(max_params=max_params)
    return Space(file=read_space(path), problem=MNIST_PROBLEM, limits=limits)


def file_of(folder: Path, draws: str = FIRST, *, above: str = "") -> Path:
    """A file, ``mine.py``, that draws so."""
    path = folder / "mine.py"
    path.write_text(BEGIN.replace("\ndef", f"{above}\ndef") + draws + END)
    return path
