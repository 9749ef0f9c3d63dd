"""Gradients of the stages' functions against finite differences, and ties of max-pooling."""

from __future__ import annotations

import copy
import gc
from collections.abc import Callable

import psutil
import pytest
import torch
from torch import Tensor, nn
from torch.autograd import gradcheck

from search.engine.fused import FusedNetwork, calls
from search.engine.fused.functions import ConvolutionFunction, StageFunction
from search.engine.fused.stages import Stage, steps_of
from tests.engine.fused.reference import error

CHANNELS_LAST = torch.channels_last
ORDERS = ["cbr", "cpbr", "cbrp", "cbrd", "cbrpd", "cbrdpd"]


def stage_of(order: str, channels: int, outputs: int, kernel: int, padding: int) -> Stage:
    convolution = nn.Conv2d(channels, outputs, kernel, padding=padding)
    made: dict[str, Callable[[], nn.Module]] = {
        "c": lambda: convolution,
        "b": lambda: nn.BatchNorm2d(outputs),
        "r": nn.ReLU,
        "p": lambda: nn.MaxPool2d(2),
        "d": lambda: nn.Dropout(0.3),
    }
    (stage,) = steps_of(nn.Sequential(*(made[letter]() for letter in order)).double())
    assert isinstance(stage, Stage)
    nn.init.normal_(stage.norm.weight)
    nn.init.normal_(stage.norm.bias, 0.5, 0.1)
    return stage


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize(
    ("channels", "outputs", "kernel", "padding"),
    [(2, 3, 3, 0), (2, 4, 3, 1), (1, 3, 3, 2), (1, 8, 3, 1), (3, 1, 1, 0), (2, 2, 5, 1)],
)
def test_stage(order: str, channels: int, outputs: int, kernel: int, padding: int) -> None:
    torch.manual_seed(len(order) + outputs)
    stage = stage_of(order, channels, outputs, kernel, padding)
    x = torch.randn(2, channels, 8, 7, dtype=torch.float64).contiguous(memory_format=CHANNELS_LAST)
    for wanted in {True, channels > 1}:  # one channel without a gradient: the images

        def function(x: Tensor, weight: Tensor, *others: Tensor) -> Tensor:
            low = weight.detach().contiguous(memory_format=CHANNELS_LAST)
            y: Tensor = StageFunction.apply(x, weight, *others, low, stage, 7)
            return y

        convolution, norm = stage.convolution, stage.norm
        assert convolution.bias is not None
        inputs = (x.requires_grad_(wanted), convolution.weight, convolution.bias)
        assert gradcheck(function, (*inputs, norm.weight, norm.bias), eps=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("channels", "kernel", "padding"), [(1, 3, 0), (1, 5, 2), (2, 3, 1), (3, 1, 0), (2, 3, 2)]
)
@pytest.mark.parametrize("wanted", [True, False])
def test_convolution(channels: int, kernel: int, padding: int, wanted: bool) -> None:
    torch.manual_seed(channels)
    layer = nn.Conv2d(channels, 3, kernel, padding=padding).double()
    assert layer.bias is not None
    x = torch.randn(2, channels, 6, 5, dtype=torch.float64, requires_grad=wanted)

    def function(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
        y: Tensor = ConvolutionFunction.apply(x, weight, bias, weight.detach(), padding)
        return y

    assert gradcheck(function, (x, layer.weight, layer.bias))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 6, 8, 16, 24])
def test_pooling_equals_that_of_torch_with_ties(dtype: torch.dtype, channels: int) -> None:
    """Values from 0 to 3: most windows have several maxima, and the first in reading order wins."""
    generator = torch.Generator().manual_seed(channels)
    x = torch.randint(0, 4, (3, channels, 9, 7), generator=generator).to(dtype)
    x = x.contiguous(memory_format=CHANNELS_LAST).requires_grad_()
    expected = nn.functional.max_pool2d(x, 2)
    dy = torch.randn(expected.shape, generator=generator, dtype=torch.float64).to(dtype)
    expected.backward(dy)  # type: ignore[no-untyped-call]
    y, marks = calls.max_pool(x.detach())
    dy = dy.contiguous(memory_format=CHANNELS_LAST)
    dx, bordered = calls.max_pool_gradient(dy, marks, 9, 7, 2)
    assert torch.equal(y, expected)
    assert x.grad is not None and torch.equal(dx, x.grad)
    assert bordered is not None and torch.equal(bordered, nn.functional.pad(dx, (2, 2, 2, 2)))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("channels", [1, 3, 4, 6, 8, 16])
def test_float32_equals_plain_layers(order: str, channels: int) -> None:
    """Without dropout, for every width of copying and with odd maps."""
    order = order.replace("d", "")
    torch.manual_seed(channels)
    stage = stage_of(order, 2, channels, 3, 1)
    layers = {"c": stage.convolution, "b": stage.norm, "r": nn.ReLU(), "p": nn.MaxPool2d(2)}
    model = nn.Sequential(*(layers[letter] for letter in order)).float()
    plain, exact = copy.deepcopy(model), copy.deepcopy(model).double()
    images = torch.randn(4, 2, 9, 11)
    wanted = torch.cat(step(exact, images.double()))
    fused = torch.cat(step(FusedNetwork(model), images, 0))
    # Plain layers are 1e-7 to 5e-7 away from float64 themselves.
    assert error(fused, wanted) < max(1e-6, 2 * error(torch.cat(step(plain, images)), wanted))
    torch.testing.assert_close(list(model.buffers()), list(plain.buffers()))


def step(run: Callable[..., Tensor], images: Tensor, *seed: int) -> list[Tensor]:
    """The output and all gradients of a step, flat."""
    x = images.clone().requires_grad_()
    y = run(x, *seed)
    model = run._model if isinstance(run, FusedNetwork) else run
    assert isinstance(model, nn.Module)
    gradients = torch.autograd.grad(y.square().sum(), [x, *model.parameters()])
    return [y.detach().flatten(), *(gradient.flatten() for gradient in gradients)]


def test_memory_stays_the_same_without_the_garbage_collector() -> None:
    """An output kept on its own context would be a cycle, and every step's maps would stay."""
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
    assert sizes[-1] - sizes[9] < 10 * one_map  # of the 30 in as many steps
