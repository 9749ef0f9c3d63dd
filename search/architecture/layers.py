"""The layers that a candidate is made of: what they are, not what they compute or cost."""

from __future__ import annotations

import reprlib
from dataclasses import dataclass

CLASSES = 10  # where nothing else is said: MNIST's
HEADS = ("gap-linear", "conv-gap", "flatten-linear", "depthwise-linear")
ROTATIONS = 4  # of a filter, by 90 degrees
WIDEST = 4_096  # channels of a convolution
LARGEST_KERNEL = 256  # pixels a side

Shape = tuple[int, int, int]  # channels, height, width of one image's feature map


@dataclass(frozen=True, kw_only=True)
class Conv:
    """A convolution of stride 1, followed by BatchNorm (with ``norm``) and ReLU.

    With ``rotated`` its channels are filters in four rotations each, which share all parameters.
    """

    width: int  # output channels
    kernel: int = 3
    padding: int = 0
    bias: bool = False
    norm: bool = True
    early_pool: bool = False  # 2x2 max pooling before BatchNorm and ReLU: a quarter of their work
    rotated: bool = False

    def __post_init__(self) -> None:
        if not 1 <= self.width <= WIDEST:
            raise ValueError(
                f"a convolution's width must lie in 1..{WIDEST}, but got {reprlib.repr(self.width)}"
            )
        if not 1 <= self.kernel <= LARGEST_KERNEL:
            raise ValueError(
                f"a kernel must lie in 1..{LARGEST_KERNEL}, but got {reprlib.repr(self.kernel)}"
            )
        if not 0 <= self.padding < self.kernel:
            raise ValueError(
                f"padding must lie in 0..kernel-1, but got {reprlib.repr(self.padding)}"
            )
        if self.rotated and self.width % ROTATIONS:
            raise ValueError(
                f"a rotated convolution's width must be a multiple of {ROTATIONS}, "
                f"but got {self.width}"
            )


@dataclass(frozen=True, kw_only=True)
class Pool:
    """2x2 max pooling; an odd last row and column are dropped."""


@dataclass(frozen=True, kw_only=True)
class Dropout:
    """Dropout of single values, or of whole channels with ``channelwise``."""

    rate: float
    channelwise: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.rate < 1.0:
            raise ValueError(f"a dropout rate must lie in [0, 1), but got {self.rate}")


@dataclass(frozen=True, kw_only=True)
class Head:
    """The classifier: from the last feature map to a logit for each class.

    ``gap-linear`` averages each channel over the map, then a fully connected layer. ``conv-gap``
    is a convolution to so many channels, then the average: with ``kernel`` 1 the same function of
    its weights at a higher cost. ``flatten-linear`` keeps the positions. ``depthwise-linear`` adds
    up each channel with learned weights of the positions, instead of equal ones (a global depthwise
    convolution; Chen et al. 2018, "MobileFaceNets", section 3), then a fully connected layer.
    """

    kind: str = "gap-linear"
    kernel: int = 1  # conv-gap only
    bias: bool = True
    classes: int = CLASSES  # logits; named in the JSON where they are not ten

    def __post_init__(self) -> None:
        if not 2 <= self.classes <= 1_000:
            raise ValueError(f"a head's classes must lie in 2..1000, but got {self.classes}")
        if self.kind not in HEADS:
            raise ValueError(
                f"a head must be one of {', '.join(HEADS)}, but got {reprlib.repr(self.kind)}"
            )
        if self.kernel != 1 and self.kind != "conv-gap":
            raise ValueError(
                f"only a conv-gap head has a kernel, but got {reprlib.repr(self.kernel)}"
            )
        if not 1 <= self.kernel <= LARGEST_KERNEL:
            raise ValueError(
                f"a head's kernel must lie in 1..{LARGEST_KERNEL}, "
                f"but got {reprlib.repr(self.kernel)}"
            )


@dataclass(frozen=True, kw_only=True)
class Deskew:
    """Takes the slant out of the image by its own moments; only before all other layers."""


@dataclass(frozen=True, kw_only=True)
class TTA:
    """Test-time augmentation: all that follows sees three copies of the image, moved by a pixel.

    Their logits are averaged. Only before all other layers but ``Deskew``; in training the image
    is seen once.
    """


Layer = Conv | Pool | Dropout | Deskew | TTA


def code(layer: Layer) -> str:
    """A layer as layouts name it, for instance ``c16r+P``; see ``LayeredCandidate.layout``."""
    if isinstance(layer, Pool):
        return "P"
    if not isinstance(layer, Conv):
        return type(layer).__name__.lower()
    name = f"c{layer.width}" if layer.kernel == 3 else f"k{layer.kernel}:{layer.width}"
    same = layer.padding == (layer.kernel - 1) // 2
    padded = ("p" if same else f"p{layer.padding}") if layer.padding else ""
    return name + "r" * layer.rotated + padded + "b" * layer.bias + "+P" * layer.early_pool
