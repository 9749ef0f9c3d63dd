"""Networks as people write them: a grammar of layers and idioms for property tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

CHANNELS = 4
SIDE = 12  # of the images, in pixels
CLASSES = 10


class Residual(nn.Sequential):
    def forward(self, x: Tensor) -> Tensor:
        return x + super().forward(x)  # type: ignore[no-any-return, no-untyped-call]


class Reversed(nn.Sequential):
    """A sequence that ``nn.Sequential`` runs in another order."""

    def __iter__(self):  # type: ignore[no-untyped-def]
        return reversed(list(super().__iter__()))


class Scaled(nn.BatchNorm2d):
    def forward(self, x: Tensor) -> Tensor:
        return 3 * super().forward(x)


class Leaky(nn.ReLU):
    def forward(self, x: Tensor) -> Tensor:
        return torch.where(x > 0, x, 0.1 * x)


class Standardised(nn.Conv2d):
    """Weight standardisation."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight - self.weight.mean((1, 2, 3), keepdim=True)
        return nn.functional.conv2d(x, weight, self.bias, padding=self.padding)


class Halves(nn.MaxPool2d):
    """A pooling that adds the mean."""

    def forward(self, x: Tensor) -> Tensor:
        pooled: Tensor = super().forward(x)
        return pooled + nn.functional.avg_pool2d(x, 2)


class Skip(nn.Module):
    """A sequence called in a ``forward`` of its own, as often as is said."""

    def __init__(self, body: nn.Module, times: int = 1) -> None:
        super().__init__()
        self.body, self.times = body, times

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(self.times):
            x = x + self.body(x)
        return x


class Changing(nn.Module):
    """Begins with a change in place, as residual blocks with pre-activation do."""

    def __init__(self) -> None:
        super().__init__()
        self.act = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.act(x)
        return y + 1


class Centred(nn.Module):
    """Puts another tensor into its buffer's place at every step, and counts them in another."""

    mean: Tensor
    steps: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(1))
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean()
            self.steps += 1
        return x - self.mean


class Idle(nn.Module):
    """A parameter that takes no part: torch neither moves nor decays it."""

    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return x


class Resting(nn.Sequential):
    """Stays in evaluation, as the norms of a pretrained part do."""

    def train(self, mode: bool = True) -> Resting:
        super().train(False)
        return self


def conv(**settings: object) -> nn.Conv2d:
    return nn.Conv2d(CHANNELS, CHANNELS, 3, padding=1, **settings)  # type: ignore[arg-type]


def block() -> list[nn.Module]:
    return [conv(), nn.BatchNorm2d(CHANNELS), nn.ReLU()]


def doubled(_module: nn.Module, given: Any, _got: Any) -> Any:
    return (2 * given[0],)


def hooked(kind: str) -> nn.Module:
    layers = nn.Sequential(*block())
    if kind == "output":
        layers[2].register_forward_hook(lambda module, inputs, output: 2 * output)
    elif kind == "input":
        layers[0].register_forward_pre_hook(lambda module, inputs: (inputs[0] + 1,))
    elif kind == "gradient":
        layers[1].register_full_backward_hook(doubled)
    elif kind == "weight":
        layers[0].weight.register_hook(lambda gradient: 3 * gradient)  # type: ignore[operator]
    else:
        layers.register_forward_hook(lambda module, inputs, output: output - 1)
    return layers


def frozen(*names: str) -> nn.Module:
    layers = nn.Sequential(*block())
    for name, parameter in layers.named_parameters():
        if name in names:
            parameter.requires_grad_(False)
    return layers


def own_forward() -> nn.Module:
    layer = nn.ReLU()
    layer.forward = lambda x: x.clamp_min(-0.5)  # type: ignore[method-assign, assignment]
    return nn.Sequential(conv(), layer)


def tied_weights() -> nn.Module:
    first, second = conv(), conv()
    second.weight = first.weight
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


def shared_layer() -> nn.Module:
    layer = conv()
    return nn.Sequential(layer, nn.ReLU(), layer, nn.ReLU())


def shared_memory() -> nn.Module:
    """Two parameters in one memory: each step moves it twice."""
    first, second = conv(), conv()
    second.weight = nn.Parameter(first.weight.data)
    return nn.Sequential(first, nn.ReLU(), second, nn.ReLU())


def sparse_in_memory() -> nn.Module:
    layer = conv()
    layer.weight = nn.Parameter(torch.randn(CHANNELS, 2 * CHANNELS, 3, 3)[:, ::2])
    return nn.Sequential(layer, nn.ReLU())


def no_parameter() -> nn.Module:
    """A convolution whose weight is a buffer."""
    layer = conv()
    weight = layer.weight.data
    del layer.weight
    layer.register_buffer("weight", weight)
    return nn.Sequential(layer, nn.ReLU())


IDIOMS: dict[str, Callable[[], nn.Module]] = {
    "block": lambda: nn.Sequential(*block()),
    "pooled block": lambda: nn.Sequential(*block(), nn.MaxPool2d(2), nn.Upsample(scale_factor=2)),
    "nested": lambda: nn.Sequential(nn.Sequential(nn.Sequential(*block()), *block())),
    "reversed": lambda: Reversed(nn.ReLU(), nn.BatchNorm2d(CHANNELS), conv()),
    "residual sequence": lambda: Residual(*block()),
    "residual module": lambda: Skip(nn.Sequential(*block())),
    "sequence called twice": lambda: Skip(nn.Sequential(*block()), times=2),
    "scaled norm": lambda: nn.Sequential(conv(), Scaled(CHANNELS), nn.ReLU()),
    "leaky": lambda: nn.Sequential(conv(), nn.BatchNorm2d(CHANNELS), Leaky()),
    "weights standardised": lambda: nn.Sequential(
        Standardised(CHANNELS, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS), nn.ReLU()
    ),
    "pooling of its own": lambda: nn.Sequential(*block(), Halves(2), nn.Upsample(scale_factor=2)),
    "forward of its own": own_forward,
    "forward hook": lambda: hooked("output"),
    "pre-hook": lambda: hooked("input"),
    "backward hook": lambda: hooked("gradient"),
    "tensor hook": lambda: hooked("weight"),
    "hook on a container": lambda: nn.Sequential(hooked("container")),
    "frozen convolution": lambda: frozen("0.weight", "0.bias"),
    "frozen weight": lambda: frozen("0.weight"),
    "frozen norm": lambda: frozen("1.weight", "1.bias"),
    "all frozen": lambda: frozen("0.weight", "0.bias", "1.weight", "1.bias"),
    "shared layer": shared_layer,
    "tied weights": tied_weights,
    "shared memory": shared_memory,
    "strided memory": sparse_in_memory,
    "weight as a buffer": no_parameter,
    "weight norm": lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(conv()), nn.ReLU()),
    "change in place": lambda: nn.Sequential(conv(), nn.BatchNorm2d(CHANNELS), Changing()),
    "change in place of an input": lambda: Skip(nn.Sequential(conv(), nn.ReLU(inplace=True))),
    "replaced buffer": lambda: nn.Sequential(conv(), Centred(), nn.ReLU()),
    "unused parameter": lambda: nn.Sequential(*block(), Idle()),
    "norm in evaluation": lambda: Resting(*block()),
    "norm without momentum": lambda: nn.Sequential(
        conv(), nn.BatchNorm2d(CHANNELS, momentum=None), nn.ReLU()
    ),
    "norm without statistics": lambda: nn.Sequential(
        conv(), nn.BatchNorm2d(CHANNELS, track_running_stats=False), nn.ReLU()
    ),
    "other layers": lambda: nn.Sequential(
        conv(groups=2), nn.GELU(), conv(padding_mode="reflect"), nn.GroupNorm(2, CHANNELS)
    ),
}


class Whole(nn.Module):
    """A network whose outermost ``forward`` is its own."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.body, self.head = nn.Sequential(*layers), head()

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.head(self.body(x))
        return y


def head() -> nn.Module:
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * CHANNELS, CLASSES))


def network_of(names: list[str], *, whole: bool = False) -> nn.Module:
    """A network of some idioms, in a plain sequence or with a ``forward`` of its own."""
    torch.manual_seed(len(names))
    layers: list[nn.Module] = [nn.Conv2d(1, CHANNELS, 3, padding=1), nn.ReLU()]
    layers += [IDIOMS[name]() for name in names]
    return Whole(layers) if whole else nn.Sequential(*layers, head())


def networks() -> st.SearchStrategy[tuple[list[str], bool]]:
    """Arguments of ``network_of``."""
    names = st.lists(st.sampled_from(sorted(IDIOMS)), min_size=1, max_size=4)
    return st.tuples(names, st.booleans())
