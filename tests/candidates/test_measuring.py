"""What a network costs, measured by a run: hand counts."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import optuna
import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from search.architecture.building import build
from search.candidates.measuring import measure
from search.layers import deskew
from search.layers.test_time_augmentation import MeanOfCopies, ShiftedCopies
from tests.helpers.draws import draw
from tests.helpers.measured import Wrapped, costs, made_on, positions_mean
from tests.helpers.networks import CLASSES, SIDE, network_of, networks

GREY, COLOUR = (1, 28, 28), (3, 32, 32)


@pytest.mark.parametrize(
    ("layer", "parameters", "macs", "values_out"),
    [
        # from 4×8×8, which is 256 values
        (nn.Conv2d(4, 6, 3), 6 * 4 * 9 + 6, 6 * 4 * 9 * 6 * 6, 6 * 6 * 6),
        (nn.Conv2d(4, 4, 3, groups=4, padding=1), 4 * 9 + 4, 4 * 9 * 8 * 8, 4 * 8 * 8),
        (nn.Conv2d(4, 6, 3, groups=2, bias=False), 6 * 2 * 9, 6 * 2 * 9 * 6 * 6, 6 * 6 * 6),
        (nn.Conv2d(4, 6, 3, stride=2, bias=False), 6 * 4 * 9, 6 * 4 * 9 * 3 * 3, 6 * 3 * 3),
        (nn.Conv2d(4, 6, 3, dilation=2, bias=False), 6 * 4 * 9, 6 * 4 * 9 * 4 * 4, 6 * 4 * 4),
        (nn.Conv2d(4, 6, (1, 5), bias=False), 6 * 4 * 5, 6 * 4 * 5 * 8 * 4, 6 * 8 * 4),
        # transposed: every weight meets every pixel of the input
        (
            nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2, bias=False),
            *(4 * 3 * 9, 4 * 3 * 9 * 8 * 8, 6 * 17 * 17),
        ),
    ],
    ids=["plain", "depthwise", "grouped", "strided", "dilated", "oblong", "transposed"],
)
def test_a_convolution(layer: nn.Module, parameters: int, macs: int, values_out: int) -> None:
    found = costs(layer)
    assert (found.parameters, found.macs) == (parameters, macs)
    assert found.peak_activation_bytes == 4 * (4 * 8 * 8 + values_out)
    assert (found.layers[0].input_values, found.layers[0].output_values) == (256, values_out)


def test_colours_sizes_and_classes_are_free() -> None:
    layers = (nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(5 * 18 * 28, 7))
    found = costs(*layers, shape=(3, 20, 30), classes=7)
    assert found.macs == 5 * 3 * 9 * 18 * 28 + 5 * 18 * 28 * 7
    assert found.peak_activation_bytes == 4 * (3 * 20 * 30 + 5 * 18 * 28)
    assert [row.output_shape for row in found.layers] == [(5, 18, 28), (7,)]


def test_norms_and_activations_work_in_place() -> None:
    norms = (nn.GroupNorm(3, 12), nn.GELU(), nn.BatchNorm2d(12), nn.Hardswish(), nn.Dropout())
    found = costs(nn.Conv2d(4, 12, 3), *norms, nn.LayerNorm(6), nn.PReLU(), nn.Softmax(1))
    assert found.parameters == (12 * 4 * 9 + 12) + 2 * 12 + 2 * 12 + 2 * 6 + 1
    assert found.macs == 12 * 4 * 9 * 6 * 6
    assert found.peak_activation_bytes == 4 * (4 * 8 * 8 + 12 * 6 * 6)


def test_a_shared_layer_works_at_every_use_and_is_held_once() -> None:
    layer = nn.Conv2d(4, 4, 3, padding=1, bias=False)
    found = costs(layer, nn.ReLU(), layer, nn.ReLU())
    assert (found.parameters, found.macs) == (4 * 4 * 9, 2 * 4 * 4 * 9 * 8 * 8)
    assert [row.parameters for row in found.layers[:2]] == [4 * 4 * 9, 0]
    assert [row.macs for row in found.layers[:2]] == [4 * 4 * 9 * 8 * 8] * 2


def test_frozen_parameters_count_and_buffers_do_not() -> None:
    norm = nn.BatchNorm2d(4)
    norm.requires_grad_(False)
    assert costs(norm).parameters == 2 * 4


def test_a_squeeze_and_excitation_block() -> None:
    def block(net: Wrapped, x: Tensor) -> Tensor:
        y: Tensor = net.parts["conv"](x)
        gate = net.parts["up"](net.parts["down"](positions_mean(y)).relu()).sigmoid()
        return positions_mean(gate[:, :, None, None] * y)

    def network() -> nn.Module:
        conv = nn.Conv2d(1, 8, 1, bias=False)
        return Wrapped(block, conv=conv, down=nn.Linear(8, 2), up=nn.Linear(2, 8))

    found = measure(network, (1, 6, 6), 8)
    assert found.parameters == 8 + (8 * 2 + 2) + (2 * 8 + 8)
    assert found.macs == 8 * 36 + 8 * 2 + 2 * 8
    assert found.peak_activation_bytes == 4 * (36 + 8 * 36)


class Product(nn.Module):
    """Works with a parameter of its own, before and behind a child."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(torch.randn(64, 6))
        self.child = nn.Linear(6, 6)
        self.last = nn.Parameter(torch.randn(6, 3))

    def forward(self, x: Tensor) -> Tensor:
        y = self.child(x.flatten(1) @ self.first).relu()
        product: Tensor = torch.einsum("ni,ij->nj", y, self.last)
        return product


def test_what_a_module_does_outside_its_children_has_rows_of_its_own() -> None:
    found = measure(lambda: nn.Sequential(Product()), (1, 8, 8), 3)
    assert found.parameters == 64 * 6 + (6 * 6 + 6) + 6 * 3
    assert [row.macs for row in found.layers] == [64 * 6, 6 * 6, 6 * 3]
    assert [row.parameters for row in found.layers] == [64 * 6, 6 * 6 + 6, 6 * 3]
    assert [row.output_shape for row in found.layers] == [(6,), (6,), (3,)]
    assert found.layers[0].name == "0: Product, mm"


def test_other_products() -> None:
    def forward(net: Wrapped, x: Tensor) -> Tensor:
        y = x.flatten(1)  # [1, 64]
        y = net.parts["both"](y, y)  # [1, 5]
        by_vector: Tensor = (y.t() @ y) @ torch.ones(5)  # 5 × 1 × 5, then 5 × 5
        return by_vector[None]

    found = measure(lambda: Wrapped(forward, both=nn.Bilinear(64, 64, 5, bias=False)), (1, 8, 8), 5)
    assert found.macs == 5 * 64 * 64 + 5 * 5 + 5 * 5


def test_what_is_worked_out_from_parameters_alone_is_no_work() -> None:
    class LowRank(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.u, self.v = (nn.Parameter(torch.randn(64, 2)) for _ in range(2))

        def forward(self, x: Tensor) -> Tensor:
            return functional.linear(x.flatten(1), self.u @ self.v.t())

    found = measure(LowRank, (1, 8, 8), 64)
    assert (found.parameters, found.macs) == (2 * 64 * 2, 64 * 64)
    assert found.peak_activation_bytes == 4 * (64 + 64)
    assert [row.parameters for row in found.layers] == [2 * 64 * 2]


def test_lazy_layers() -> None:
    layers = (nn.LazyConv2d(6, 3), nn.LazyBatchNorm2d(), nn.Flatten(), nn.LazyLinear(5))
    found = measure(lambda: nn.Sequential(*layers), (4, 8, 8), 5)
    assert found.parameters == (6 * 4 * 9 + 6) + 2 * 6 + (6 * 36 * 5 + 5)
    assert found.macs == 6 * 4 * 9 * 36 + 6 * 36 * 5


def test_a_forward_in_inference_mode_hides_nothing() -> None:
    class Inferred(nn.Linear):
        @torch.inference_mode()
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x.flatten(1))

    assert measure(lambda: Inferred(64, 3), (1, 8, 8), 3).macs == 64 * 3


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (lambda x: x.flatten(1), r"a tensor \[N, 10\] for N images, but got \[1, 64\] for 1"),
        (lambda x: x.flatten()[:10], r"but got \[10\] for 1"),
        (lambda x: x.flatten(1)[:, :10, None], r"but got \[1, 10, 1\] for 1"),
        (lambda x: x.view(-1)[:20].view(2, 10), r"but got \[2, 10\] for 1"),
        (lambda x: (x.flatten(1)[:, :10], x), "but got an object of type tuple"),
        (lambda x: None, "but got an object of type NoneType"),
    ],
)
def test_another_output_is_refused_in_one_line(
    output: Callable[[Tensor], object], message: str
) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        measure(lambda: Wrapped(lambda _, x: output(x)), (1, 8, 8), 10)
    assert "\n" not in str(raised.value)


def test_what_the_network_raises_is_what_is_raised() -> None:
    def forward(_: Wrapped, x: Tensor) -> Tensor:
        raise KeyError(f"no layer for {x.device} and {len(x)}")

    with pytest.raises(KeyError, match="no layer for cpu and 1"):
        measure(lambda: Wrapped(forward), (1, 8, 8), 10)
    with pytest.raises(RuntimeError, match="size of tensor|shapes cannot be multiplied"):
        measure(lambda: nn.Sequential(nn.Flatten(), nn.Linear(63, 10)), (1, 8, 8), 10)


class Looks(nn.Module):
    """Its code looks at a value: it does one thing on an image with ink and needs real numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return x / x.std() if x.max().item() > 0 else x[:, :, :0]


class FromNumpy(nn.Linear):
    def __init__(self) -> None:
        super().__init__(64, 10)
        values = np.ones((10, 64), dtype=np.float32)
        self.weight = nn.Parameter(torch.from_numpy(values))


@pytest.mark.parametrize("first", [Looks, nn.Identity])
def test_what_cannot_run_on_meta_runs_on_the_cpu(first: type[nn.Module]) -> None:
    found = measure(lambda: nn.Sequential(first(), nn.Flatten(), FromNumpy()), (1, 8, 8), 10)
    assert (found.parameters, found.macs) == (64 * 10 + 10, 64 * 10)


def test_two_images_where_one_cannot_work() -> None:
    def forward(net: Wrapped, x: Tensor) -> Tensor:
        y = net.parts["linear"](x.flatten(1))
        return functional.batch_norm(y, None, None, training=True)

    found = measure(lambda: Wrapped(forward, linear=nn.Linear(64, 10)), (1, 8, 8), 10)
    assert found.macs == 64 * 10
    assert found.peak_activation_bytes == 4 * (64 + 10)


def random_network() -> nn.Module:
    """Draws when it is built and when it runs, on whichever device, and fails where it says."""
    torch.manual_seed(7)
    first = nn.Linear(64, 10, device="cpu")
    return nn.Sequential(nn.Flatten(), first, Wrapped(lambda _, x: x + torch.randn(10)))


@pytest.mark.parametrize("classes", [10, 11])
def test_nothing_is_disturbed(classes: int) -> None:
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    kept = nn.Sequential(random_network())
    torch.random.set_rng_state(before)
    for network in (random_network, lambda: kept):
        try:
            measure(network, (1, 8, 8), classes)
        except ValueError:
            assert classes == 11
        else:
            assert classes == 10
        assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.is_grad_enabled() and torch.empty(0).device.type == "cpu"
    assert torch.backends.mha.get_fastpath_enabled() and torch.backends.mkldnn.enabled
    assert torch.backends.cuda.flash_sdp_enabled()  # type: ignore[no-untyped-call]
    assert not any(module._forward_hooks for module in kept.modules())


def test_names_that_a_newcomer_can_read() -> None:
    layers = (
        *(nn.ReLU(), nn.Conv2d(4, 4, 3, stride=2, groups=4)),
        *(nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.MaxPool2d(2), nn.PReLU()),
        *(nn.Flatten(), nn.Linear(4, 3)),
    )
    found = costs(*layers, classes=3)
    assert [row.name for row in found.layers] == [
        "1: Conv2d 4→4, 3×3, stride 2, depthwise, BatchNorm2d, ReLU",
        "4: MaxPool2d, 2×2",
        "5: PReLU",
        "7: Linear 4→3",
    ]
    assert [row.parameters for row in found.layers] == [4 * 9 + 4 + 2 * 4, 0, 1, 4 * 3 + 3]


def test_copies_are_taken_in_turn_and_stated_costs_are_those_of_each() -> None:
    layers = (ShiftedCopies(), deskew.Deskew(), nn.Flatten(), nn.Linear(64, 10), MeanOfCopies())
    found = costs(*layers, shape=(1, 8, 8), classes=10)
    assert found.macs == 3 * 7 * 64 + 3 * 64 * 10
    assert found.peak_activation_bytes == 4 * (64 + 64)
    assert [row.name.split(": ")[1] for row in found.layers] == [
        *("ShiftedCopies", "Deskew", "Linear 64→10", "MeanOfCopies")
    ]
    assert [row.output_values for row in found.layers] == [64, 64, 10, 10]


def test_a_long_table_ends_with_the_sum_of_the_rest() -> None:
    layers = [nn.Conv2d(2, 2, 1) for _ in range(250)]
    found = costs(*layers, shape=(2, 2, 2))
    assert len(found.layers) == 200
    assert found.layers[-1].name == "52 more rows"  # and the mean over positions
    assert sum(row.parameters for row in found.layers) == found.parameters == 250 * (2 * 2 + 2)
    assert sum(row.macs for row in found.layers) == found.macs == 250 * 2 * 2 * 4


@given(drawn=networks())
@settings(max_examples=60, deadline=None)
def test_whatever_people_write_costs_the_same_on_meta_and_on_the_cpu(
    drawn: tuple[list[str], bool],
) -> None:
    names, whole = drawn

    def make() -> nn.Module:
        return network_of(names, whole=whole)

    shape = (1, SIDE, SIDE)
    found = measure(make, shape, CLASSES)
    assert found == measure(made_on("cpu", make), shape, CLASSES)
    network = make().eval()
    with FlopCounterMode(display=False) as flops, torch.no_grad():
        network(torch.zeros(1, *shape))
    assert found.macs == flops.get_total_flops() // 2
    assert found.parameters == sum(parameter.numel() for parameter in network.parameters())
    assert sum(row.parameters for row in found.layers) == found.parameters
    assert sum(row.macs for row in found.layers) == found.macs


def test_measuring_takes_less_than_50_milliseconds() -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(1))
    candidate = draw(study.ask())
    assert len(list(build(candidate).modules())) >= 15
    measure(lambda: build(candidate), GREY, 10)  # the first one imports
    seconds = []
    for _ in range(5):
        start = time.perf_counter()
        measure(lambda: build(candidate), GREY, 10)
        seconds.append(time.perf_counter() - start)
    assert statistics.median(seconds) < 0.05
