"""A network as a graph of plain operators computes what the network does."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from search.common.errors import UserError
from search.exporting.micro.rewriting import rewritten
from search.layers.rotated import RotatedBatchNorm2d, RotatedConv2d
from tests.helpers.micro import trained

IMAGE = (1, 1, 20, 20)


def steps(network: nn.Module) -> list[str]:
    """The names of a rewritten network's operators, after it was seen to compute the same."""
    image = torch.randn(IMAGE)
    made = rewritten(network, (image,))
    assert torch.allclose(made(image), network(image), atol=1e-4)
    calls = [node for node in made.graph.nodes if node.op == "call_function"]
    return [getattr(node.target, "__name__", "").split(".")[0].rstrip("_") for node in calls]


def test_pooling_comes_last_where_that_is_the_same_so_that_batch_norm_folds() -> None:
    layers = (nn.Conv2d(1, 8, 3), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.ReLU())
    assert steps(trained(*layers)) == ["conv2d", "relu", "max_pool2d"]
    assert steps(trained(*layers, negative=True)) == [
        *("conv2d", "max_pool2d", "mul", "add", "relu"),
    ]
    padded = (nn.Conv2d(1, 8, 3), nn.MaxPool2d(3, 2, 1), nn.ReLU())
    assert steps(trained(*padded)) == ["conv2d", "relu", "max_pool2d"]


def test_batch_norm_stays_behind_pooling_where_no_convolution_takes_it_in() -> None:
    """It would work on a map four times as large."""
    layers = (nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.BatchNorm2d(4), nn.ReLU())
    assert steps(trained(*layers)) == ["conv2d", "relu", "max_pool2d", "mul", "add", "relu"]
    statistics = nn.BatchNorm2d(4, track_running_stats=False)
    assert "batch_norm" in steps(trained(nn.Conv2d(1, 4, 3), nn.ReLU(), statistics))


class Twice(nn.Module):
    """What pooling reads, something else reads too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(1, 4, 3), nn.MaxPool2d(2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return torch.relu(self.pool(x)) + x[..., ::2, ::2]


def test_pooling_stays_where_its_input_is_needed_as_it_is() -> None:
    assert steps(trained(Twice()))[:2] == ["conv2d", "max_pool2d"]


def test_filters_in_rotations_become_plain_ones() -> None:
    layers = [RotatedConv2d(1, 8, 3, bias=False), RotatedBatchNorm2d(8), nn.ReLU()]
    layers += [RotatedConv2d(8, 16, 3, of_rotated=True), nn.MaxPool2d(2), RotatedBatchNorm2d(16)]
    assert steps(trained(*layers)) == [
        *("conv2d", "relu", "conv2d", "max_pool2d"),
    ]


@pytest.mark.parametrize(
    "layer",
    [
        *(nn.GELU(), nn.GELU(approximate="tanh"), nn.ELU(), nn.ELU(0.5, inplace=True), nn.SELU()),
        *(nn.Softplus(), nn.Softplus(beta=2), nn.Mish(), nn.LeakyReLU(), nn.LeakyReLU(0.2)),
    ],
)
def test_what_a_microcontroller_lacks_is_made_of_what_it_has(layer: nn.Module) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), layer)
    torch.manual_seed(0)
    image = 5 * torch.randn(IMAGE)
    made = rewritten(network, (image,))
    assert torch.allclose(made(image), network.eval()(image), atol=5e-4)
    calls = [node for node in made.graph.nodes if node.op == "call_function"]
    names = {node.target.__name__.split(".")[0].rstrip("_") for node in calls}
    assert names <= {"conv2d", "relu", "tanh", "exp", "log", "abs", "sigmoid"} | {
        *("mul", "add", "sub", "neg", "truediv"),
    }


def test_dropout_is_gone_and_batch_norm_elsewhere_is_two_numbers() -> None:
    layers = (nn.BatchNorm2d(1), nn.Dropout(0.5), nn.Conv2d(1, 4, 3), nn.Dropout2d(0.5))
    assert steps(trained(*layers)) == ["mul", "add", "conv2d"]
    assert steps(trained(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.BatchNorm2d(4, affine=False))) == [
        *("conv2d", "relu", "mul", "add"),
    ]


class Decides(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x if x.sum() > 0 else -x


def test_a_network_that_decides_by_values_is_refused_in_one_line() -> None:
    with pytest.raises(UserError, match=r"torch.export cannot follow the network: .*Write its"):
        rewritten(Decides(), (torch.zeros(IMAGE),))
