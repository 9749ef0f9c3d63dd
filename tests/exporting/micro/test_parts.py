"""What is computed before and after the layers, and what the layers take."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import nn

from search.common.errors import UserError
from search.data.problem import MNIST_PROBLEM
from search.exporting.micro.parts import take_apart
from search.layers.deskew import Deskew
from search.layers.test_time_augmentation import MeanOfCopies, ShiftedCopies

LAYERS = (nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10))


@pytest.mark.parametrize("deskewed", [False, True])
@pytest.mark.parametrize("copied", [False, True])
def test_the_parts_together_are_the_network(deskewed: bool, copied: bool) -> None:
    before: list[nn.Module] = [Deskew()] * deskewed + [ShiftedCopies()] * copied
    network = nn.Sequential(*before, *LAYERS, *([MeanOfCopies()] * copied)).eval()
    parts = take_apart(network, MNIST_PROBLEM)
    assert (parts.deskewed, parts.copies) == (deskewed, 3 if copied else 1)
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(0, 256, (4, 1, 28, 28), generator=generator, dtype=torch.uint8)
    taken = parts.prepared(pixels)
    assert taken.shape == (4 * parts.copies, 1, 28, 28)
    with torch.no_grad():
        logits = torch.cat([parts.core(image[None]) for image in taken])
        normalised = pixels / (255 * MNIST_PROBLEM.std[0])
        expected = network(normalised - MNIST_PROBLEM.mean[0] / MNIST_PROBLEM.std[0])
    assert torch.allclose(logits.view(parts.copies, 4, 10).mean(0), expected, atol=1e-5)


def test_colours_are_normalised_each_by_its_own() -> None:
    problem = replace(
        MNIST_PROBLEM, input_shape=(3, 8, 8), mean=(0.1, 0.2, 0.3), std=(0.5, 0.25, 0.2)
    )
    parts = take_apart(nn.Sequential(nn.Conv2d(3, 4, 3)), problem)
    white = parts.prepared(torch.full((1, 3, 8, 8), 255, dtype=torch.uint8))
    assert white[0, :, 0, 0].tolist() == pytest.approx([1.8, 3.2, 3.5])


class Inked(Deskew):
    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return super().forward(images) * 0.5


@pytest.mark.parametrize(
    ("layers", "named"),
    [
        ((LAYERS[0], Deskew(), *LAYERS[1:]), "Deskew"),
        ((nn.Sequential(Deskew(), *LAYERS),), "Deskew"),
        ((LAYERS[0], ShiftedCopies(), *LAYERS[1:], MeanOfCopies()), "ShiftedCopies"),
        ((ShiftedCopies(), *LAYERS), "ShiftedCopies"),
        ((*LAYERS, MeanOfCopies()), "MeanOfCopies"),
        ((Inked(), *LAYERS), "Inked"),
    ],
)
def test_what_comes_elsewhere_is_named(layers: tuple[nn.Module, ...], named: str) -> None:
    with pytest.raises(UserError, match=f"{named} can be computed on a microcontroller only where"):
        take_apart(nn.Sequential(*layers), MNIST_PROBLEM)
