"""What a search's images are, without a pixel of them; what belongs to MNIST alone is asked here.

The exercise that this tool grew from has a target, public systems with claims, and digits that may
be deskewed. None of that holds for other images.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from search.data.dataset import DataSource

MNIST = "MNIST"  # `sources.locate` gives this name to MNIST's own bytes and to nothing else
MNIST_TARGET = 0.994  # the accuracy of the exercise
CLASSES = 10  # of data whose number of classes was not recorded: older studies had no other


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The images of a search and the accuracy that is wanted on them."""

    name: str  # of the data set; empty where it is not recorded
    classes: int = CLASSES  # labels go from 0 to one less
    input_shape: tuple[int, int, int] = (1, 28, 28)  # channels, height, width
    target: float | None = None  # accuracy in [0, 1]; None where nobody has asked for one

    @property
    def channels(self) -> int:
        """1 for grey images, 3 for colour."""
        return self.input_shape[0]

    @property
    def is_mnist(self) -> bool:
        """Whether these are MNIST's own images: the public systems' claims are about them."""
        return self.name == MNIST

    @property
    def handwriting(self) -> bool:
        """Whether a figure means the same upright and slanted, so that it may be deskewed."""
        return self.is_mnist

    @property
    def looks(self) -> str:
        """What an image shows, for a card; empty where that is not known."""
        return "one centred, upright, bright figure on a dark ground" if self.is_mnist else ""


MNIST_PROBLEM = Problem(name=MNIST, target=MNIST_TARGET)


def problem_of(source: DataSource, *, target: float | None = None) -> Problem:
    """The problem that located data pose.

    Args:
        source: The data.
        target: The accuracy that the user asked for, in [0, 1]; without one MNIST has its own.
    """
    if target is None and source.name == MNIST:
        target = MNIST_TARGET
    return Problem(name=source.name, classes=source.classes, target=target)


def recorded_problem(settings: object) -> Problem:
    """The problem in a study's recorded settings; what is missing there is not made up.

    A study of other data than MNIST that does not record its number of classes is an older one:
    its target was written without anybody's asking, so it has none.
    """
    recorded = settings if isinstance(settings, Mapping) else {}
    dataset = recorded.get("dataset")
    dataset = dataset if isinstance(dataset, Mapping) else {}
    name, classes, target = dataset.get("name"), dataset.get("classes"), recorded.get("target")
    asked_for = name == MNIST or "classes" in dataset
    return Problem(
        name=name if isinstance(name, str) else "",
        classes=classes if type(classes) is int and classes > 1 else CLASSES,
        target=_share(target) if asked_for else None,
    )


def _share(value: object) -> float | None:
    """A number above 0 and up to 1, or None for anything else (a NaN or a bool included)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if 0 < value <= 1 else None
