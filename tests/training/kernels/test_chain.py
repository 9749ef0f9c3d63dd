"""Stages by compiled kernels against torch: ties of pooling, odd sizes, bfloat16, memory."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable

import psutil
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from search.training.kernels import FusedNetwork
from search.training.kernels.chain import Chain
from search.training.kernels.stages import Stage, steps_of
from tests.training.kernels.reference import error, needs_bfloat16

ORDERS = ["c", "cr", "crp", "cpr", "cbr", "cpbr", "cbrp"]


def layers_of(order: str, channels: int, outputs: int, kernel: int, padding: int) -> nn.Sequential:
    made: dict[str, Callable[[], nn.Module]] = {
        "c": lambda: nn.Conv2d(channels, outputs, kernel, padding=padding),
        "b": lambda: nn.BatchNorm2d(outputs),
        "r": nn.ReLU,
        "p": lambda: nn.MaxPool2d(2),
    }
    model = nn.Sequential(*(made[letter]() for letter in order))
    for layer in model:
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight)
            nn.init.normal_(layer.bias, 0.5, 0.1)
    return model


def step(
    run: Callable[[Tensor], Tensor], model: nn.Module, images: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """The output and the gradients of the images and all parameters."""
    x = images.clone().requires_grad_()
    y = run(x)
    dy = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(1))
    return y.detach(), list(torch.autograd.grad(y, [x, *model.parameters()], dy))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [1, 3, 16, 37, 64, 128])
@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "padding"),
    [(2, 3, 3, 0), (2, 7, 3, 1), (1, 13, 3, 2), (5, 1, 1, 0), (3, 2, 5, 1), (8, 16, 3, 1)],
)
def test_a_stage_equals_its_layers(
    order: str, count: int, channels: int, outputs: int, kernel: int, padding: int
) -> None:
    """For every size of tile, whole vectors or not, and with odd maps."""
    torch.manual_seed(count + outputs)
    plain = layers_of(order, channels, outputs, kernel, padding).double()
    model = copy.deepcopy(plain)
    (stage,) = steps_of(model)
    assert isinstance(stage, Stage)
    chain = Chain([stage], torch.float64)
    images = torch.randn(count, channels, 9, 7, dtype=torch.float64)
    expected, gradients = step(plain, plain, images)
    y, found = step(lambda x: chain(x, 0, training=True), model, images)
    torch.testing.assert_close(y, expected, rtol=1e-11, atol=1e-11)
    for ours, theirs in zip(found, gradients, strict=True):
        scale = float(gradients[0].norm()) + float(theirs.norm())
        assert float((ours - theirs).norm()) < 1e-11 * scale
    torch.testing.assert_close(list(model.buffers()), list(plain.buffers()))
    plain.eval()
    torch.testing.assert_close(chain(images, 0, training=False), plain(images))


@pytest.mark.parametrize("order", ["cpr", "crp"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_pooling_gives_ties_to_the_first_as_torch(order: str, dtype: torch.dtype) -> None:
    """Values from 0 to 3: most windows have several maxima, and the first in reading order wins."""
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 4, (5, 1, 9, 7), generator=generator).to(dtype)
    plain = layers_of(order, 1, 1, 1, 0).to(dtype)
    assert isinstance(plain[0].weight, Tensor) and isinstance(plain[0].bias, Tensor)
    nn.init.ones_(plain[0].weight)
    nn.init.zeros_(plain[0].bias)
    model = copy.deepcopy(plain)
    y, found = step(FusedNetwork(model), model, images)
    expected, gradients = step(plain, plain, images)
    assert torch.equal(y, expected)
    assert torch.equal(found[0], gradients[0])


@needs_bfloat16
@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("count", [5, 32, 64, 96])
def test_a_bfloat16_convolution_sums_in_float32(channels: int, count: int) -> None:
    """Of numbers that bfloat16 has, only the result is rounded: half a step of 2^-8."""
    torch.manual_seed(channels)
    model = nn.Conv2d(channels, 9, 3, padding=1)
    with torch.no_grad():
        model.weight.copy_(model.weight.bfloat16())
    (stage,) = steps_of(model)
    assert isinstance(stage, Stage)
    chain = Chain([stage], torch.bfloat16)
    x = torch.randn(count, channels, 7, 8).bfloat16().float().requires_grad_()
    y = chain(x, 0, training=True)
    exact = functional.conv2d(x.detach().double(), model.weight.double(), model.bias.double(), 1, 1)  # type: ignore[union-attr]
    # Sums of opposite signs end near zero, where float32 itself has rounded.
    torch.testing.assert_close(y.double(), exact, rtol=2**-8, atol=1e-5)
    dy = torch.randn_like(y).bfloat16().float()
    dx, dweight = torch.autograd.grad(y, [x, model.weight], dy)
    inputs = (x.detach().double().requires_grad_(), model.weight.double().detach().requires_grad_())
    outputs = functional.conv2d(*inputs, padding=1)
    exact_dx, exact_dweight = torch.autograd.grad(outputs, inputs, dy.double())
    torch.testing.assert_close(dx.double(), exact_dx, rtol=2**-8, atol=1e-5)
    assert error(dweight, exact_dweight) < 1e-5


def test_a_pass_whose_memory_was_used_again_cannot_be_gone_back_through() -> None:
    network = FusedNetwork(nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU()))
    images = torch.rand(4, 1, 9, 9)
    first = network(images)
    network(images)
    with pytest.raises(RuntimeError, match="another forward pass"):
        first.sum().backward()  # type: ignore[no-untyped-call]


def test_memory_stays_the_same() -> None:
    model = nn.Sequential(
        *(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.1)),
        *(nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Dropout(0.1)),
        *(nn.Conv2d(8, 10, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
    )
    network = FusedNetwork(model)
    images = torch.rand(128, 1, 28, 28)
    process, sizes = psutil.Process(), []
    gc.disable()
    try:
        for seed in range(40):
            network(images, seed).sum().backward()  # type: ignore[no-untyped-call]
            sizes.append(process.memory_info().rss)
    finally:
        gc.enable()
    one_map = 128 * 8 * 26 * 26 * 4  # bytes
    assert sizes[-1] - sizes[9] < 2 * one_map  # of the 30 in as many steps
