"""Which layers of a network run as one stage, and which keys its dropout draws from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeGuard

import torch
from torch import Tensor, nn

from search.layers.rotated import RotatedBatchNorm2d, RotatedConv2d
from search.training.exact import has_hooks, is_exactly, is_sequence

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
    dropout: nn.Dropout | None = None  # on the map that ReLU gives
    pooled_dropout: nn.Dropout | None = None  # behind the late pool
    place: int = 0
    layers: tuple[nn.Module, ...] = ()  # all that it stands for

    @property
    def rate(self) -> float:
        """Of ``dropout``, as it is now."""
        return self.dropout.p if self.dropout else 0.0

    @property
    def pooled_rate(self) -> float:
        """Of ``pooled_dropout``, as it is now."""
        return self.pooled_dropout.p if self.pooled_dropout else 0.0

    @property
    def modal(self) -> list[nn.Module]:
        """The layers that compute something else in training than in evaluation."""
        layers = (self.norm, self.dropout, self.pooled_dropout)
        return [layer for layer in layers if layer is not None]

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

    layer: nn.Dropout | nn.Dropout2d
    place: int


Step = Stage | Masked | nn.Module


def steps_of(model: nn.Module, first_place: int = 0) -> list[Step]:
    """The layers of a sequential network in order, grouped where a stage can express them.

    Args:
        model: A sequence, or a layer alone.
        first_place: Of its first layer.
    """
    layers = list(flat(model))
    steps: list[Step] = []
    at = 0
    while at < len(layers):
        stage, taken = _stage(layers, at, first_place)
        steps.append(stage or _alone(layers[at], first_place + at))
        at += taken if stage else 1
    return steps


def flat(model: nn.Module) -> Iterator[nn.Module]:
    """The layers that a sequence runs, those of sequences within it one by one.

    A sequence with hooks stays whole, but for the outermost.
    """
    if not is_sequence(model):
        yield model
        return
    for child in model:  # type: ignore[attr-defined]
        if has_hooks(child):
            yield child
        else:
            yield from flat(child)


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
    if not is_exactly(layer, nn.Conv2d, RotatedConv2d):
        return False
    assert isinstance(layer, nn.Conv2d | RotatedConv2d)
    kernel, filters = layer.kernel_size[0], layer.out_channels
    if isinstance(layer, nn.Conv2d):
        if not (
            layer.groups == 1
            and layer.stride == (1, 1)
            and layer.dilation == (1, 1)
            and layer.kernel_size == (kernel, kernel)
            and not isinstance(layer.padding, str)
            and layer.padding[0] == layer.padding[1] < kernel
            and layer.padding_mode == "zeros"
        ):
            return False
    elif layer.padding[0] >= kernel:
        return False
    else:
        filters //= 4
    weight = (layer.weight, (filters, layer.in_channels, kernel, kernel))
    return _are_plain(weight, *([] if layer.bias is None else [(layer.bias, (filters,))]))


def _are_plain(*tensors: tuple[Tensor | None, tuple[int, ...]]) -> bool:
    """Whether tensors have their shapes and one type, and lie in memory as kernels read them."""
    return (
        all(
            tensor is not None
            and type(tensor) in (Tensor, nn.Parameter)
            and tensor.shape == shape
            and tensor.dtype in (torch.float32, torch.float64)
            and tensor.device.type == "cpu"
            and tensor.layout == torch.strided
            and (tensor.ndim > 1 or tensor.is_contiguous())
            for tensor, shape in tensors
        )
        and len({tensor.dtype for tensor, _ in tensors if tensor is not None}) == 1
    )


def _alone(layer: nn.Module, place: int) -> Step:
    if is_exactly(layer, nn.Dropout, nn.Dropout2d):
        assert isinstance(layer, nn.Dropout | nn.Dropout2d)
        if layer.p == 1:
            return layer
        return Masked(layer=layer, place=place)
    return layer


def _stage(layers: list[nn.Module], at: int, first_place: int) -> tuple[Stage | None, int]:
    """The stage that begins with the layer at a place, and how many layers it takes."""
    rest = iter([*layers[at:], None])
    convolution, layer = next(rest), next(rest)
    if convolution is None or not is_plain_convolution(convolution):
        return None, 0
    place = first_place + at
    alone = Stage(convolution=convolution, rectifies=False, place=place, layers=(convolution,))
    taken = 2
    early = _halves(layer)
    if early:
        taken, layer = taken + 1, next(rest)
    norm = layer if _is_plain_norm(layer, convolution) else None
    if norm:
        taken, layer = taken + 1, next(rest)
    late = not early and _halves(layer)  # pooling and ReLU change places without a difference
    if late:
        taken, layer = taken + 1, next(rest)
    if not is_exactly(layer, nn.ReLU):
        return alone, 1
    if early and not norm:
        early, late = False, True
    layer = next(rest)
    dropout = pooled_dropout = None
    if _drops(layer) and not late:
        dropout, taken, layer = layer, taken + 1, next(rest)
    if not (early or late) and _halves(layer):
        late, taken, layer = True, taken + 1, next(rest)
    if late and _drops(layer):
        pooled_dropout, taken = layer, taken + 1
    pool: Literal["none", "early", "late"] = "early" if early else "late" if late else "none"
    stage = Stage(
        convolution=convolution,
        norm=norm,
        pool=pool,
        dropout=dropout,
        pooled_dropout=pooled_dropout,
        place=place,
        layers=tuple(layers[at : at + taken]),
    )
    return stage, taken


def _halves(layer: nn.Module | None) -> bool:
    two = (2, (2, 2))
    return (
        is_exactly(layer, nn.MaxPool2d)
        and isinstance(layer, nn.MaxPool2d)
        and layer.kernel_size in two
        and layer.stride in two
        and layer.padding in (0, (0, 0))
        and layer.dilation in (1, (1, 1))
        and not layer.ceil_mode
        and not layer.return_indices
    )


def _is_plain_norm(
    layer: nn.Module | None, convolution: nn.Conv2d | RotatedConv2d
) -> TypeGuard[nn.BatchNorm2d]:
    """With weights and running statistics, of the channels that a convolution gives."""
    if not is_exactly(layer, nn.BatchNorm2d, RotatedBatchNorm2d):
        return False
    assert isinstance(layer, nn.BatchNorm2d)
    channels = convolution.out_channels
    own = (channels // 4 if isinstance(layer, RotatedBatchNorm2d) else channels,)
    return (
        layer.momentum is not None
        and layer.track_running_stats
        and layer.num_batches_tracked is not None
        and layer.num_features == channels
        and _are_plain(
            (layer.weight, own),
            (layer.bias, own),
            (layer.running_mean, (channels,)),
            (layer.running_var, (channels,)),
            (convolution.weight, convolution.weight.shape),
        )
    )


def _drops(layer: nn.Module | None) -> TypeGuard[nn.Dropout]:
    return is_exactly(layer, nn.Dropout) and isinstance(layer, nn.Dropout) and layer.p < 1
