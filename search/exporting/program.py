"""A network whose source cannot be written as one file: a program of torch.export instead."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from search.common.errors import UserError, root_of
from search.data.problem import Problem
from search.exporting.standalone import MODEL, WEIGHTS, first_line, write_weights

PROGRAM = "model.pt2"

TEMPLATE = '''"""{title}

Needs torch and the file {program} beside it. {parameters:,} trainable parameters.

    from model import load
    logits = load()(images)         # images [N, {channels}, {height}, {width}] float32, 0 to 255
    labels = logits.argmax(dim=1)   # [N], from 0 to {largest_label}

The steps of the network are in that file, as torch.export wrote them, and its weights a second time
in {weights}.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

PROGRAM = Path(__file__).with_name("{program}")


def load(path: Path = PROGRAM) -> nn.Module:
    """The trained network, ready to predict (dropout off, BatchNorm fixed)."""
    return torch.export.load(path).module()


if __name__ == "__main__":
    print(load())
'''


class Ready(nn.Module):
    """A trained network that takes images as they are, ``[N, C, H, W]`` with values from 0 to 255.

    Args:
        network: Takes normalised images.
        mean: Of the training pixels scaled to [0, 1], for each channel.
        std: Their standard deviation.
    """

    scale: Tensor
    offset: Tensor

    def __init__(self, network: nn.Module, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.network = network
        scale = 1 / (255 * torch.tensor(std).view(-1, 1, 1))
        self.register_buffer("scale", scale, persistent=False)
        offset = torch.tensor(mean).view(-1, 1, 1) / torch.tensor(std).view(-1, 1, 1)
        self.register_buffer("offset", offset, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Logits ``[N, classes]``."""
        logits: Tensor = self.network(images.float() * self.scale - self.offset)
        return logits


def write_program(folder: Path, network: Ready, problem: Problem, *, title: str) -> None:
    """Write ``model.pt2``, a ``model.py`` that loads it, and ``weights.safetensors`` into a folder.

    Args:
        folder: Exists.
        network: Trained.
        problem: What images it takes, and the classes.
        title: The file's first line.

    Raises:
        UserError: If torch.export cannot follow the network: what it does depends on the images.
    """
    example = torch.zeros(2, *problem.input_shape)
    try:
        with torch.no_grad():
            program = torch.export.export(
                copy.deepcopy(network).eval(),
                (example,),
                dynamic_shapes=({0: torch.export.Dim("images")},),
            )
    except Exception as error:
        raise UserError(
            f"torch.export cannot follow the network: {type(error).__name__}: {root_of(error)}",
            "Write its forward without decisions that depend on the images' values or number",
        ) from None
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # where in which file of this machine it was written
    torch.export.save(program, folder / PROGRAM)
    write_weights(folder / WEIGHTS, network.network)
    channels, height, width = problem.input_shape
    text = TEMPLATE.format(
        title=first_line(title),
        program=PROGRAM,
        weights=WEIGHTS,
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        channels=channels,
        height=height,
        width=width,
        largest_label=problem.classes - 1,
    )
    (folder / MODEL).write_text(text, encoding="utf-8")
