"""Which layers of a network run as one stage, and which keys its dropout draws from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeGuard

from torch import nn

from search.engine.rotated import RotatedConv2d

_64_BITS = 2**64 - 1


@dataclass(frozen=True, kw_only=True)
class Stage:
    """conv, [early pool], [BatchNorm], ReLU, [dropout], [late pool], [dropout after the pool].

    Or a convolution alone, without ``rectifies``. ``place`` is the convolution's place among the
    layers: it keeps the dropout of different stages apart.
    """

    convolution: nn.Conv2d | RotatedConv2d
    norm: nn.BatchNorm2d | None = None
    rectifies: bool = True
    pool: Literal["none", "early", "late"] = "none"
    rate: float = 0.0  # of dropout on the map that ReLU gives
    pooled_rate: float = 0.0  # of dropout behind the late pool
    place: int = 0

    @property
    def scale(self) -> float:
        """What the kept values are multiplied with."""
        return 1.0 / ((1.0 - self.rate) * (1.0 - self.pooled_rate))

    @property
    def padding(self) -> int:
        """The convolution's, the same on all sides."""
        assert not isinstance(self.convolution.padding, str)
        return self.convolution.padding[0]

    @property
    def kernel(self) -> int:
        """The convolution's, the same on both sides."""
        return self.convolution.kernel_size[0]

    @property
    def parameters(self) -> list[nn.Parameter | None]:
        """Weight and bias of the convolution, then of BatchNorm."""
        norm = self.norm
        own = [self.convolution.weight, self.convolution.bias]
        return [*own, *((norm.weight, norm.bias) if norm else (None, None))]


@dataclass(frozen=True, kw_only=True)
class Masked:
    """Dropout that is in no stage."""

    rate: float
    channelwise: bool
    place: int


Step = Stage | Masked | nn.Module


def steps_of(model: nn.Module) -> list[Step]:
    """The layers of a sequential network in order, grouped where a stage can express them."""
    layers = list(_flat(model))
    steps: list[Step] = []
    at = 0
    while at < len(layers):
        stage, taken = _stage(layers, at)
        steps.append(stage or _alone(layers[at], at))
        at += taken if stage else 1
    return steps


def threshold(rate: float) -> int:
    """The hashes, out of 2^32, below which dropout makes a zero."""
    return min(round(rate * 2**32), 2**32 - 1)


def dropout_key(seed: int, place: int) -> int:
    """Where a layer's counter starts in a step, in 32 bits: unrelated for other seeds or places.

    The output function of SplitMix64 (Steele, Lea and Flood 2014; constants of Vigna's
    public-domain version, https://prng.di.unimi.it/splitmix64.c), its upper half.
    """
    bits = (seed + (place + 1) * 0x9E3779B97F4A7C15) & _64_BITS
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _64_BITS
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _64_BITS
    return (bits ^ (bits >> 31)) >> 32


def is_plain_convolution(layer: nn.Module) -> TypeGuard[nn.Conv2d | RotatedConv2d]:
    """Stride 1, one group, a square kernel, and zeros for padding, fewer than the kernel."""
    if isinstance(layer, RotatedConv2d):
        return layer.padding[0] < layer.kernel_size[0]
    return (
        type(layer) is nn.Conv2d
        and layer.groups == 1
        and layer.stride == (1, 1)
        and layer.dilation == (1, 1)
        and layer.kernel_size[0] == layer.kernel_size[1]
        and not isinstance(layer.padding, str)
        and layer.padding[0] == layer.padding[1] < layer.kernel_size[0]
        and layer.padding_mode == "zeros"
    )


def _flat(model: nn.Module) -> Iterator[nn.Module]:
    if isinstance(model, nn.Sequential):
        for child in model:
            yield from _flat(child)
    else:
        yield model


def _alone(layer: nn.Module, place: int) -> Step:
    if type(layer) in (nn.Dropout, nn.Dropout2d):
        assert isinstance(layer, nn.Dropout | nn.Dropout2d)
        if layer.p < 1:
            channelwise = type(layer) is nn.Dropout2d
            return Masked(rate=layer.p, channelwise=channelwise, place=place)
    return layer


def _stage(layers: list[nn.Module], at: int) -> tuple[Stage | None, int]:
    """The stage that begins with the layer at a place, and how many layers it takes."""
    rest = iter([*layers[at:], None])
    convolution, layer = next(rest), next(rest)
    if convolution is None or not is_plain_convolution(convolution):
        return None, 0
    alone = Stage(convolution=convolution, rectifies=False, place=at), 1
    taken = 2
    early = _halves(layer)
    if early:
        taken, layer = taken + 1, next(rest)
    norm = layer if isinstance(layer, nn.BatchNorm2d) and _is_plain_norm(layer) else None
    if norm:
        taken, layer = taken + 1, next(rest)
    late = not early and _halves(layer)  # pooling and ReLU change places without a difference
    if late:
        taken, layer = taken + 1, next(rest)
    if type(layer) is not nn.ReLU:
        return alone
    if early and not norm:
        early, late = False, True
    layer = next(rest)
    rate = pooled_rate = 0.0
    if _drops(layer) and not late:
        rate, taken, layer = layer.p, taken + 1, next(rest)
    if not (early or late) and _halves(layer):
        late, taken, layer = True, taken + 1, next(rest)
    if late and _drops(layer):
        pooled_rate, taken = layer.p, taken + 1
    pool: Literal["none", "early", "late"] = "early" if early else "late" if late else "none"
    stage = Stage(
        convolution=convolution,
        norm=norm,
        pool=pool,
        rate=rate,
        pooled_rate=pooled_rate,
        place=at,
    )
    return stage, taken


def _halves(layer: nn.Module | None) -> bool:
    two = (2, (2, 2))
    return (
        isinstance(layer, nn.MaxPool2d)
        and layer.kernel_size in two
        and layer.stride in two
        and layer.padding in (0, (0, 0))
        and layer.dilation in (1, (1, 1))
        and not layer.ceil_mode
        and not layer.return_indices
    )


def _is_plain_norm(layer: nn.BatchNorm2d) -> bool:
    return layer.affine and layer.track_running_stats and layer.momentum is not None


def _drops(layer: nn.Module | None) -> TypeGuard[nn.Dropout]:
    return type(layer) is nn.Dropout and layer.p < 1
