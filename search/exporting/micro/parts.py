"""What of a network is computed before and after its layers of weights, and the rest, as a graph.

A microcontroller deskews in float32 before the quantised layers begin, and takes the copies of
test-time augmentation one after the other in the memory of one: so neither is in the files.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from search.common.errors import UserError
from search.exporting.micro.rewriting import rewritten
from search.layers.deskew import Deskew
from search.layers.test_time_augmentation import MeanOfCopies, ShiftedCopies
from search.training.exact import has_hooks, is_exactly

if TYPE_CHECKING:
    from torch.fx import GraphModule

    from search.data.problem import Problem


@dataclass(frozen=True, kw_only=True)
class Parts:
    """A network taken apart.

    ``core`` takes one normalised image ``[1, C, H, W]`` and gives ``[1, classes]``. An image's
    logits are the mean over its copies of what ``core`` gives for each.
    """

    core: GraphModule
    deskewed: bool
    copies: int  # of each image that core sees: 1 or 3
    problem: Problem

    def prepared(self, pixels: Tensor) -> Tensor:
        """What ``core`` takes, ``[copies * N, C, H, W]`` of ``[N, C, H, W]`` uint8 pixels.

        Returns:
            float32; first all images, then all of them moved, as ``ShiftedCopies`` orders them.
        """
        mean, std = (
            torch.tensor(of).view(-1, 1, 1) for of in (self.problem.mean, self.problem.std)
        )
        images = pixels.float() * (1 / (255 * std)) - mean / std
        images = Deskew()(images) if self.deskewed else images
        copied: Tensor = ShiftedCopies()(images) if self.copies > 1 else images
        return copied


def take_apart(network: nn.Module, problem: Problem) -> Parts:
    """Split a trained network.

    Raises:
        UserError: If deskewing or copies come elsewhere than before all other layers, or
            torch.export cannot follow the network.
    """
    core, deskewed, copied = network, False, False
    if type(network) is nn.Sequential and not has_hooks(network):
        layers = list(network.named_children())
        deskewed = _takes(layers, Deskew)
        copied = _takes(layers, ShiftedCopies)
        if copied and layers and is_exactly(layers[-1][1], MeanOfCopies):
            layers = layers[:-1]
        elif copied:
            raise UserError(*_misplaced("ShiftedCopies", "its MeanOfCopies comes last"))
        core = nn.Sequential(OrderedDict(layers))  # under their own names
    for layer in core.modules():
        if isinstance(layer, Deskew | ShiftedCopies | MeanOfCopies):
            raise UserError(*_misplaced(type(layer).__name__, "it comes before all other layers"))
    return Parts(
        core=rewritten(core.eval(), (torch.zeros(1, *problem.input_shape),)),
        deskewed=deskewed,
        copies=3 if copied else 1,
        problem=problem,
    )


def _takes(layers: list[tuple[str, nn.Module]], kind: type[nn.Module]) -> bool:
    """Take the first layer off if it is of a kind, none of its subclasses; returns whether."""
    return bool(layers and is_exactly(layers[0][1], kind) and [layers.pop(0)])


def _misplaced(name: str, where: str) -> tuple[str, str]:
    return (
        f"{name} can be computed on a microcontroller only where {where} of an nn.Sequential",
        "Move it, or export without --micro",
    )
