"""The standalone file: what it holds makes the same network, in a Python that has torch alone."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from search.architecture.building import build
from search.architecture.candidate import LayeredCandidate
from search.architecture.layers import TTA, Conv, Deskew
from search.architecture.references import REFERENCES
from search.data.images import on_device
from search.data.problem import MNIST_PROBLEM
from search.exporting.program import Ready
from search.exporting.standalone import (
    is_writable,
    load_standalone,
    logits,
    source,
    write_standalone,
)
from search.exporting.writing import _standalone
from search.layers.rotated import RotatedConv2d

PROBLEM = replace(MNIST_PROBLEM, mean=(0.13066,), std=(0.30811,))


def disturbed(network: nn.Module) -> nn.Module:
    """A network that looks trained: also its running statistics are not those of a fresh one."""
    generator = torch.Generator().manual_seed(1)
    for tensor in network.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_((torch.rand(tensor.shape, generator=generator) - 0.5) * 0.1)
    return network.eval()


PREPARING = LayeredCandidate(
    layers=(
        *(Deskew(), TTA(), Conv(width=8, rotated=True)),
        Conv(width=12, rotated=True),
    )
)
CANDIDATES = [
    *(REFERENCES[key].candidate for key in ("narrow-8k", "valid-conv-18k", "gap-1x1-19k")),
    PREPARING,
]


@pytest.mark.parametrize("candidate", CANDIDATES, ids=LayeredCandidate.layout)
def test_the_file_makes_the_same_network(
    candidate: LayeredCandidate, tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    network = disturbed(build(candidate))
    write_standalone(tmp_path, network, PROBLEM, title='a "title" \\')
    images = on_device(
        mnist_1200[0][:, None], mnist_1200[1], PROBLEM.mean, PROBLEM.std, torch.device("cpu")
    )
    pixels = images.pixels[:200]
    with torch.no_grad():
        expected = network(images.normalised(pixels))
    assert torch.equal(logits(load_standalone(tmp_path), pixels), expected)


@pytest.mark.processes
def test_the_file_runs_where_nothing_of_ours_and_no_safetensors_is(tmp_path: Path) -> None:
    network = disturbed(build(PREPARING))
    write_standalone(tmp_path, network, PROBLEM, title="t")
    program = (
        "import sys, json\n"
        "class No:\n"
        "    def find_spec(self, name, *rest):\n"
        "        ours = ('search', 'space', 'objective', 'safetensors', 'onnx', 'optuna')\n"
        "        if name.split('.')[0] in ours: raise ImportError(name)\n"
        "sys.meta_path.insert(0, No())\n"
        "from model import load\n"
        "import torch\n"
        "print(json.dumps(load()(torch.full((1, 1, 28, 28), 99)).tolist()[0]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    with torch.no_grad():
        pixel = (99 / 255 - PROBLEM.mean[0]) / PROBLEM.std[0]
        expected = network(torch.full((1, 1, 28, 28), pixel))[0]
    torch.testing.assert_close(torch.tensor(json.loads(done.stdout)), expected)


@pytest.mark.parametrize(
    ("layer", "written"),
    [
        (nn.Conv2d(1, 7, 3, bias=False), "nn.Conv2d(1, 7, kernel_size=3, bias=False)"),
        (nn.Conv2d(1, 7, 5, padding=2), "nn.Conv2d(1, 7, kernel_size=5, padding=2)"),
        (nn.Conv2d(1, 7, (3, 1)), "nn.Conv2d(1, 7, kernel_size=(3, 1))"),
        (nn.BatchNorm2d(7), "nn.BatchNorm2d(7)"),
        (nn.BatchNorm2d(7, eps=1e-3), "nn.BatchNorm2d(7, eps=0.001)"),
        (nn.Dropout2d(0.25), "nn.Dropout2d(p=0.25)"),
        (nn.Flatten(), "nn.Flatten()"),
    ],
)
def test_a_layer_is_written_with_what_is_not_default(layer: nn.Module, written: str) -> None:
    assert source(layer) == written


class Mine(nn.ReLU):
    pass


def hooked() -> nn.Module:
    network = nn.Sequential(nn.ReLU())
    network[0].register_forward_hook(lambda module, inputs, output: 2 * output)
    return network


SHARED = nn.Linear(4, 4)


@pytest.mark.parametrize(
    ("network", "can"),
    [
        (nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten()), True),
        (nn.Sequential(RotatedConv2d(1, 4, 3)), True),
        (nn.Linear(1, 1), False),
        (nn.Sequential(nn.Sequential(nn.ReLU())), False),
        (nn.Sequential(Mine()), False),
        (hooked(), False),
        (nn.Sequential(SHARED, SHARED), False),
        (nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(2, 2))), False),
        (nn.Sequential(nn.MultiheadAttention(4, 2)), False),
        (nn.Sequential(nn.Linear(2, 2)).requires_grad_(False), False),
    ],
)
def test_the_source_is_written_of_what_is_exactly_a_sequence_of_known_layers(
    network: nn.Module, can: bool
) -> None:
    assert is_writable(network) == can


@pytest.mark.parametrize(
    "layer",
    [
        nn.AvgPool2d(3, 2, 1, count_include_pad=False),
        nn.AvgPool2d(3, 2, ceil_mode=True),
        nn.AvgPool2d(2, divisor_override=3),
        nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True),
        nn.Conv2d(2, 4, (3, 1), padding=(1, 0), dilation=2, groups=2),
        nn.BatchNorm2d(2, momentum=None, affine=False),
        nn.LeakyReLU(0.3),
        nn.Hardtanh(-2, 2),
        nn.PixelShuffle(1),
        nn.Dropout2d(0.25),
    ],
)
def test_a_layer_is_written_with_all_of_its_settings(layer: nn.Module) -> None:
    """Also those that torch's repr leaves out."""
    assert is_writable(nn.Sequential(layer))
    made = eval(source(layer), {"nn": nn})
    made.load_state_dict(layer.state_dict())
    images = torch.rand((2, 2, 9, 7), generator=torch.Generator().manual_seed(1))
    assert torch.equal(made.eval()(images), layer.eval()(images))


@pytest.mark.parametrize(
    "layer",
    [
        nn.FractionalMaxPool2d(2, output_size=3),  # whose repr tells nothing
        nn.TransformerEncoderLayer(4, 2),
    ],
)
def test_a_layer_that_its_repr_does_not_make_again_is_not_written(layer: nn.Module) -> None:
    assert not is_writable(nn.Sequential(layer))


def test_a_file_that_computes_anything_else_is_not_kept(
    tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    images = mnist_1200[0][:80, None]
    network = disturbed(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    other = disturbed(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)))
    for trained, is_kept in ((network, True), (other, False)):
        ready = Ready(trained, PROBLEM.mean, PROBLEM.std).eval()
        found = _standalone(tmp_path, network, ready, PROBLEM, images, title="a test's")
        assert (found is not None) == is_kept
