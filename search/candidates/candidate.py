"""What a space returns: a network that is still to be built, and how it is trained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from search.training.recipe import Recipe

if TYPE_CHECKING:
    from torch import nn


class AnyCandidate(Protocol):
    """What the program needs of a candidate, whatever its class.

    A candidate may also have ``costs() -> Costs`` where a formula is faster than measuring its
    network.
    """

    @property
    def name(self) -> str:
        """What a person should know of it, in one line."""
        ...

    @property
    def recipe(self) -> Recipe:
        """How it is trained."""
        ...

    @property
    def build(self) -> Callable[[], nn.Module]:
        """Makes the network, with first weights from torch's global generator.

        The network gives ``[N, classes]`` logits of ``[N, channels, height, width]`` images,
        whose values have mean 0 and standard deviation 1 over the training images.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A candidate of any network; see ``AnyCandidate`` for the fields."""

    build: Callable[[], nn.Module]
    name: str
    recipe: Recipe = Recipe()
