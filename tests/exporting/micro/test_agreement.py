"""Networks in C agree with TensorFlow Lite Micro, image by image."""

from __future__ import annotations

import importlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from search.data.problem import MNIST_PROBLEM
from search.exporting.micro.interpreter import MicroInterpreter
from search.exporting.micro.parts import take_apart
from search.layers.deskew import Deskew
from search.layers.test_time_augmentation import MeanOfCopies, ShiftedCopies
from tests.helpers.micro import compare, head, images_of, logits_of, trained, written

pytestmark = pytest.mark.processes

SqueezeAndExcitation = importlib.import_module("examples.depthwise").SqueezeAndExcitation
COLOUR = replace(MNIST_PROBLEM, input_shape=(3, 16, 20), mean=(0.4,) * 3, std=(0.2, 0.25, 0.3))


class Joined(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, torch.relu(x) - 0.5], 1)


NETWORKS: dict[str, list[nn.Module]] = {
    "deskewing and copies": [
        *(Deskew(), ShiftedCopies(), nn.Conv2d(1, 8, 3, bias=False), nn.MaxPool2d(2)),
        *(nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.1), *head(8), MeanOfCopies()),
    ],
    "depthwise, strides, groups": [
        *(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU6(), nn.Conv2d(8, 8, 3, 2, 1, groups=8)),
        *(nn.Conv2d(8, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=4, dilation=2)),
        *(nn.BatchNorm2d(16), nn.ReLU(), *head(16)),
    ],
    "average pooling, joined maps": [
        *(nn.BatchNorm2d(1), nn.Conv2d(1, 8, 3), nn.Hardtanh(), nn.AvgPool2d(3, 2, 1), Joined()),
        *head(16),
    ],
    "flattened": [
        *(nn.Conv2d(1, 8, 3), nn.LeakyReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten()),
        nn.Linear(8 * 13 * 13, 10),
    ],
    "squeeze and excitation": [
        *(nn.Conv2d(1, 8, 3), nn.Hardswish(), SqueezeAndExcitation(8, 2), nn.SiLU(), *head(8)),
    ],
}
EXACT = {"deskewing and copies", "depthwise, strides, groups", "flattened"}
EXACT |= {"average pooling, joined maps"}


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.usefixtures("packages")
def test_the_c_agrees_with_tensorflow_lite_micro(
    name: str, tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    network = trained(*NETWORKS[name])
    split = images_of(MNIST_PROBLEM, mnist_1200)
    made = written(tmp_path / "micro", network, MNIST_PROBLEM, split)
    assert made.float32.other_classes == 0
    assert made.int8.no_c == made.float32.no_c == ""
    compare(tmp_path / "micro", network, MNIST_PROBLEM, split, exact=name in EXACT)


@pytest.mark.usefixtures("packages")
def test_colour_images_go_through_with_their_channels_side_by_side(
    tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    network = trained(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), *head(8))
    split = images_of(COLOUR, mnist_1200)
    written(tmp_path / "micro", network, COLOUR, split)
    compare(tmp_path / "micro", network, COLOUR, split, exact=True)
    pixels = (tmp_path / "micro" / "images.bin").read_bytes()
    assert pixels == split.images.transpose(0, 2, 3, 1).tobytes()


class Plain(nn.Module):
    """As people write it: pooling without keepdim, a linear layer without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 8, 3), nn.Linear(8, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x))
        return self.last((x + torch.sigmoid(20 * x)).mean((2, 3)))  # type: ignore[no-any-return]


def dead(weight: float) -> nn.Sequential:
    """A network of which BatchNorm leaves next to nothing of a channel but its bias."""
    network = trained(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), *head(8))
    with torch.no_grad():
        norm = network[1]
        assert isinstance(norm, nn.BatchNorm2d)
        norm.weight[2], norm.bias[2] = weight, 1.0
    return network


@pytest.mark.parametrize(
    "network",
    [
        *(dead(0.0), dead(1e-6), dead(1e-5), Plain()),
        nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 26 * 26, 10)),
        trained(
            *(nn.Conv2d(1, 8, 3), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.ReLU(), *head(8)),
            negative=True,
        ),
    ],
)
@pytest.mark.usefixtures("packages")
def test_networks_that_are_easily_got_wrong(
    network: nn.Module, tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    split = images_of(MNIST_PROBLEM, mnist_1200)
    made = written(tmp_path / "micro", network, MNIST_PROBLEM, split)
    assert made.acceptable and made.float32.other_classes == 0
    assert made.int8.no_c == ""
    compare(tmp_path / "micro", network, MNIST_PROBLEM, split, exact=not isinstance(network, Plain))
    logits = logits_of(network, MNIST_PROBLEM, split)
    model = (tmp_path / "micro" / "model_int8.tflite").read_bytes()
    taken = take_apart(network, MNIST_PROBLEM).prepared(torch.from_numpy(split.images))
    found = MicroInterpreter(model).predict(taken.permute(0, 2, 3, 1).numpy())
    assert np.abs(found - logits).max() < 0.1 * np.abs(logits).max()
