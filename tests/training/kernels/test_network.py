"""Fused networks compute what the plain ones do: logits, gradients, running statistics."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import optuna
import pytest
import torch
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from search.architecture.building import build
from search.architecture.candidate import LayeredCandidate
from search.architecture.layers import TTA, Conv, Deskew, Dropout
from search.architecture.references import REFERENCES
from search.layers.rotated import RotatedBatchNorm2d, RotatedConv2d
from search.training.kernels import FusedNetwork, available
from search.training.kernels.stages import Stage, steps_of
from tests.helpers.draws import draw
from tests.training.kernels.reference import (
    backward,
    error,
    gradient,
    needs_bfloat16,
    plain_twin,
    shake_norms,
)

SEED = 12345
MOST_AMPLIFIED = 1e5


def batch(
    count: int = 8,
    side: int = 28,
    dtype: torch.dtype = torch.float32,
    shape: tuple[int, ...] | None = None,
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    shape = shape or (1, side, side)
    images = torch.rand(count, *shape, generator=generator, dtype=torch.float64)
    return images.to(dtype), torch.randint(0, 10, (count,), generator=generator)


def check(
    model: nn.Sequential,
    *,
    dtype: torch.dtype,
    tolerance: float,
    side: int = 28,
    shape: tuple[int, ...] | None = None,
) -> None:
    """One step of the fused network against the plain float64 one with the same masks."""
    model = model.to(dtype).to(memory_format=torch.channels_last)
    shake_norms(model)
    before = list(model.state_dict())
    twin = plain_twin(model, SEED)
    images, labels = batch(side=side, dtype=dtype, shape=shape)
    if not amplification(twin, images.double(), labels) < MOST_AMPLIFIED:
        reject()  # rounding says all
    expected = twin(images.double())
    backward(expected, labels)
    logits = FusedNetwork(model)(images, SEED)
    backward(logits, labels)
    assert logits.dtype == dtype
    assert error(logits, expected) < tolerance
    truth, scale = list(twin.parameters()), float(gradient(twin).norm())
    for parameter, true in zip(model.parameters(), truth, strict=True):
        assert parameter.grad is not None and true.grad is not None
        distance = (parameter.grad.double() - true.grad).norm()
        assert distance < tolerance * max(scale, 1e-6)
    for buffer, true_buffer in zip(model.buffers(), twin.buffers(), strict=True):
        torch.testing.assert_close(buffer.double(), true_buffer.double(), rtol=1e-5, atol=1e-6)
    assert list(model.state_dict()) == before


def amplification(model: nn.Sequential, images: Tensor, labels: Tensor) -> float:
    """How many times larger the rounding of all layers' outputs is in the gradient.

    A norm of a channel that is constant divides by the root of its epsilon, so several in a row
    make rounding as large as what it rounds.
    """
    change = 1e-10
    generator = torch.Generator().manual_seed(0)

    def rounded(layer: nn.Module, given: object, out: Tensor) -> Tensor:
        return out * (1 + change * torch.randn(out.shape, generator=generator, dtype=out.dtype))

    exact, changed = copy.deepcopy(model), copy.deepcopy(model)
    for layer in changed:
        layer.register_forward_hook(rounded)
    for network in (exact, changed):
        backward(network(images), labels)
    scale = gradient(exact).norm().clamp_min(1e-6)
    return float((gradient(changed) - gradient(exact)).norm() / scale) / change


def candidate_of(number: int) -> LayeredCandidate:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=number))
    return draw(study.ask())


@pytest.mark.parametrize("number", range(12))
def test_random_candidates_in_float64(number: int) -> None:
    """With deskewing, copies, rotated filters and weighed positions, as the draw has them."""
    torch.manual_seed(number)
    model = build(candidate_of(number))
    assert isinstance(model, nn.Sequential)
    check(model, dtype=torch.float64, tolerance=1e-9)


@pytest.mark.parametrize("shape", [(3, 32, 32), (1, 10, 10), (3, 64, 48), (4, 11, 30)])
@pytest.mark.parametrize("number", range(4))
def test_images_of_any_shape(shape: tuple[int, int, int], number: int) -> None:
    torch.manual_seed(number)
    candidate = candidate_of(number)
    layers = tuple(layer for layer in candidate.layers if not isinstance(layer, Deskew | TTA))
    if min(shape[1:]) < 16:
        layers = (*layers[:1], *layers[-1:])
    model = build(replace(candidate, layers=layers, input_shape=shape))
    assert isinstance(model, nn.Sequential)
    check(model, dtype=torch.float64, tolerance=1e-9, shape=shape)


@pytest.mark.parametrize("number", range(12, 16))
def test_random_candidates_in_float32(number: int) -> None:
    torch.manual_seed(number)
    model = build(candidate_of(number))
    assert isinstance(model, nn.Sequential)
    check(model, dtype=torch.float32, tolerance=2e-4)


@pytest.mark.parametrize("name", [name for name in REFERENCES if name != "wide-vgg"])
def test_references(name: str) -> None:
    torch.manual_seed(0)
    model = build(REFERENCES[name].candidate)
    assert isinstance(model, nn.Sequential)
    check(model, dtype=torch.float64, tolerance=1e-9)


def test_the_layout_without_norm() -> None:
    """That of `wide-vgg`, with an eighth of its width."""
    torch.manual_seed(0)
    reference = REFERENCES["wide-vgg"].candidate
    layers = [
        Conv(width=layer.width // 16, padding=layer.padding, bias=True, norm=False)
        if isinstance(layer, Conv)
        else layer
        for layer in reference.layers
    ]
    model = build(LayeredCandidate(layers=tuple(layers), head=reference.head))
    assert isinstance(model, nn.Sequential)
    check(model, dtype=torch.float64, tolerance=1e-9)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_filters_in_four_rotations(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        *(RotatedConv2d(1, 8, 3, bias=False), nn.MaxPool2d(2), RotatedBatchNorm2d(8), nn.ReLU()),
        *(RotatedConv2d(8, 12, 3, of_rotated=True), RotatedBatchNorm2d(12), nn.ReLU()),
        *(nn.Dropout(0.2), nn.Conv2d(12, 6, 1), nn.ReLU(), RotatedConv2d(6, 16, 3, padding=1)),
        *(nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10)),
    )
    assert sum(isinstance(step, Stage) for step in steps_of(model)) == 4
    check(model, dtype=dtype, tolerance=1e-9 if dtype == torch.float64 else 2e-4)


KINDS = ["conv", "conv", "conv", "pool", "norm", "norm", "relu", "relu", "drop", "drop2d"]


@st.composite
def odd_networks(draw: st.DrawFn) -> nn.Sequential:
    """Layers in any order that fits 13x11 maps, with a classifier."""
    torch.manual_seed(draw(st.integers(0, 2**16)))  # so that an example is the same again
    layers: list[nn.Module] = []
    channels, height, width = 1, 13, 13
    for kind in draw(st.lists(st.sampled_from(KINDS), min_size=2, max_size=12)):
        if kind == "conv":
            kernel = draw(st.sampled_from([1, 3, 5]))
            padding = draw(st.integers(0, kernel // 2 + (kernel > 1)))
            stride = draw(st.sampled_from([1, 1, 1, 2]))
            if min(height, width) + 2 * padding < kernel:
                continue
            out = draw(st.integers(1, 9))
            bias = draw(st.booleans())
            layers.append(
                nn.Conv2d(channels, out, kernel, padding=padding, bias=bias, stride=stride)
            )
            channels = out
            height = (height + 2 * padding - kernel) // stride + 1
            width = (width + 2 * padding - kernel) // stride + 1
        elif kind == "pool" and min(height, width) >= 2:
            layers.append(nn.MaxPool2d(2))
            height, width = height // 2, width // 2
        elif kind == "norm":
            layers.append(nn.BatchNorm2d(channels, affine=draw(st.integers(0, 7)) > 0))
        elif kind == "relu":
            again = bool(layers) and isinstance(layers[-1], nn.ReLU)  # torch refuses that in place
            layers.append(nn.ReLU(inplace=draw(st.booleans()) and not again))
        elif kind == "drop":
            layers.append(nn.Dropout(draw(st.sampled_from([0.05, 0.5]))))
        elif kind == "drop2d":
            layers.append(nn.Dropout2d(0.2))
    if draw(st.booleans()):
        layers.extend([nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)])
    else:
        layers.extend([nn.Flatten(), nn.Linear(channels * height * width, 10)])
    return nn.Sequential(*layers)


@given(model=odd_networks())
@settings(max_examples=150, deadline=None)
def test_layers_in_any_order(model: nn.Sequential) -> None:
    check(model, dtype=torch.float64, tolerance=1e-7, side=13)


def test_the_usual_orders_are_stages() -> None:
    def blocks(*orders: str) -> list[str]:
        made: dict[str, Callable[[], nn.Module]] = {
            "c": lambda: nn.Conv2d(1, 1, 3),
            "b": lambda: nn.BatchNorm2d(1),
            "r": lambda: nn.ReLU(inplace=True),
            "p": lambda: nn.MaxPool2d(2),
            "d": lambda: nn.Dropout(0.1),
        }
        return [
            "".join("s" if isinstance(step, Stage) else "-" for step in steps_of(network))
            for network in (
                nn.Sequential(*(made[letter]() for letter in order)) for order in orders
            )
        ]

    assert (
        blocks("cbr", "cpbr", "cbpr", "cbrp", "cbrd", "cbrdp", "cbrpd", "cbrdpd", "cbprd")
        == ["s"] * 9
    )
    assert blocks("c", "cr", "crp", "cpr", "crpd") == ["s"] * 5
    assert blocks("cb", "cbd", "bcbr", "cpbrp", "cp") == ["s-", "s--", "-s", "s-", "s-"]


@needs_bfloat16
def test_bfloat16_gradients_are_as_good_as_those_of_autocast() -> None:
    """Of the plain network under autocast, averaged over networks and weights."""
    ours: list[float] = []
    theirs: list[float] = []
    for name in ("valid-conv-18k", "adaptive-pool-18k", "valid-conv-18k", "adaptive-pool-18k"):
        torch.manual_seed(len(ours))
        candidate = REFERENCES[name].candidate
        layers = [layer for layer in candidate.layers if not isinstance(layer, Dropout)]
        model = build(LayeredCandidate(layers=tuple(layers), head=candidate.head))
        assert isinstance(model, nn.Sequential)
        model = model.to(memory_format=torch.channels_last)
        plain, exact = copy.deepcopy(model), plain_twin(model, SEED)
        images, labels = batch(64)
        backward(exact(images.double()), labels)
        with torch.autocast("cpu", torch.bfloat16):
            logits = plain(images)
        backward(logits.float(), labels)
        backward(FusedNetwork(model, bfloat16=True)(images, SEED), labels)
        ours.append(error(gradient(model), gradient(exact)))
        theirs.append(error(gradient(plain), gradient(exact)))
    assert sum(ours) < 1.05 * sum(theirs)


def test_weights_that_are_not_finite_show() -> None:
    model = nn.Sequential(
        *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU(), nn.Dropout(0.1)),
        *(nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)),
    )
    with torch.no_grad():
        model[0].weight[2] = float("nan")  # type: ignore[operator]
    for bfloat16 in {False, available(bfloat16=True)}:
        logits = FusedNetwork(model, bfloat16=bfloat16)(batch()[0], SEED)
        assert logits.isnan().all()


def test_one_value_for_each_channel_is_refused_as_by_torch() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 28), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten())
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        FusedNetwork(model)(batch(1)[0], SEED)


def test_a_map_too_small_to_pool_is_refused_as_by_torch() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 28), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2))
    with pytest.raises(RuntimeError, match="too small"):
        FusedNetwork(model)(batch(2)[0], SEED)
