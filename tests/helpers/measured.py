"""Networks whose costs are measured."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from search.candidates.costs import Costs
from search.candidates.measuring import measure


def costs(
    *layers: nn.Module, shape: tuple[int, int, int] = (4, 8, 8), classes: int | None = None
) -> Costs:
    """Of a sequence; behind it a mean over positions, unless it gives the classes."""
    head = () if classes else (nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = nn.Sequential(*layers, *head)
    if classes is None:
        classes = network.eval()(torch.zeros(2, *shape)).shape[1]
    return measure(lambda: network.to("meta"), shape, classes)


class Wrapped(nn.Module):
    """A network that is one function of its image and its modules."""

    def __init__(self, function: Callable[[Wrapped, Tensor], object], **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleDict(parts)

    def forward(self, x: Tensor) -> object:
        return self.function(self, x)


def positions_mean(x: Tensor) -> Tensor:
    return x.mean((2, 3))


def made_on(device: str, network: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """The network, in a way that only works on this device."""

    def make() -> nn.Module:
        if device == "cpu":
            torch.ones(1).item()
        return network()

    return make
