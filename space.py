"""WHAT is searched: the candidate, how a trial suggests it, how it is counted and built.

Edit this file to search something else; the engine needs no change for it. It needs these names:
``suggest``, which is given by name what it asks for of ``max_params``, ``max_macs``, ``classes``
and ``handwriting``, ``count_parameters``, ``count_macs``, ``peak_activation_bytes``,
``layer_table``, ``build`` and a ``Candidate`` with ``to_json``, ``from_json``, ``one_line`` and
``recipe``.
Everything but ``build`` is arithmetic on Python integers: a candidate over the limit costs two
milliseconds, and torch is not even imported for it.
"""

from __future__ import annotations

import dataclasses
import json
import math
import reprlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from search.common.typed_json import decode, loads
from search.training.recipe import Augmentation, Recipe

if TYPE_CHECKING:
    from optuna.trial import BaseTrial
    from torch import nn

INPUT_SHAPE = (1, 28, 28)  # channels, height, width
CLASSES = 10  # where nothing else is said: MNIST's
HEADS = ("gap-linear", "conv-gap", "flatten-linear", "depthwise-linear")
DESKEW_MACS = 7  # a pixel: five moments and the two neighbours that are interpolated
VIEWS = 3  # of an image, where a candidate has them
ROTATIONS = 4  # of a filter, by 90 degrees
WIDEST = 4_096  # channels of a convolution
DEEPEST = 256  # layers of a candidate

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
        if not 1 <= self.kernel <= 28:
            raise ValueError(f"a kernel must lie in 1..28, but got {reprlib.repr(self.kernel)}")
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
        if not 1 <= self.kernel <= 28:
            raise ValueError(
                f"a head's kernel must lie in 1..28, but got {reprlib.repr(self.kernel)}"
            )


@dataclass(frozen=True, kw_only=True)
class Deskew:
    """Takes the slant out of the image by its own moments; only before all other layers."""


@dataclass(frozen=True, kw_only=True)
class Views:
    """All that follows sees the image three times, moved by a pixel; the logits are averaged.

    Only before all other layers but ``Deskew``. In training the image is seen once.
    """


Layer = Conv | Pool | Dropout | Deskew | Views
_LAYERS: dict[str, type[Layer]] = {
    "conv": Conv,
    "pool": Pool,
    "dropout": Dropout,
    "deskew": Deskew,
    "views": Views,
}
_OPS = {kind: op for op, kind in _LAYERS.items()}


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """An architecture and the recipe that trains it."""

    layers: tuple[Layer, ...]
    head: Head = Head()
    recipe: Recipe = Recipe()

    def __post_init__(self) -> None:
        if len(self.layers) > DEEPEST:
            raise ValueError(
                f"a candidate has at most {DEEPEST} layers, but got {len(self.layers):,}"
            )
        if any(isinstance(layer, Deskew) for layer in self.layers[1:]):
            raise ValueError("deskew works on images: it can only be the first layer")
        before = self.layers.index(Views()) if Views() in self.layers else 0
        if self.layers[:before] not in ((), (Deskew(),)) or self.layers.count(Views()) > 1:
            raise ValueError("views are of images: only deskew can come before, and only once")

    def to_json(self) -> str:
        """The whole candidate as one line of JSON; ``from_json`` gives an equal one back."""
        layers = [{"op": _OPS[type(layer)], **dataclasses.asdict(layer)} for layer in self.layers]
        head = dataclasses.asdict(self.head)
        if self.head.classes == CLASSES:  # kept weights are known by the JSON of their candidate
            del head["classes"]
        rest = {"head": head, "recipe": dataclasses.asdict(self.recipe)}
        return json.dumps({"layers": layers, **rest})

    @classmethod
    def from_json(cls, text: str) -> Candidate:
        """Read a candidate; fields left out take their defaults.

        Raises:
            ValueError: If the text is not JSON, a field is unknown or of the wrong type, a value
                is out of range, or the feature map vanishes; the message says which.
        """
        data = loads(text)
        if not isinstance(data, dict) or not isinstance(data.get("layers"), list):
            raise ValueError('a candidate is an object with a list "layers"')
        unknown = set(data) - {"layers", "head", "recipe"}
        if unknown:
            raise ValueError(f"a candidate has no field {reprlib.repr(sorted(unknown)[0])}")
        layers = []
        for item in data["layers"]:
            op = item.get("op") if isinstance(item, dict) else item
            if not isinstance(op, str) or op not in _LAYERS:
                raise ValueError(
                    f'a layer\'s "op" is one of {", ".join(_LAYERS)}, but got {reprlib.repr(op)}'
                )
            fields = {key: value for key, value in item.items() if key != "op"}
            layers.append(decode(_LAYERS[op], fields))
        candidate = cls(
            layers=tuple(layers),
            head=decode(Head, data.get("head", {})),
            recipe=decode(Recipe, data.get("recipe", {})),
        )
        layer_table(candidate)  # raises where the feature map vanishes
        return candidate

    def layout(self) -> str:
        """The layers, for instance ``c8 c16 P k1:8 c32p``: equal for equal ones and a usual head.

        ``deskew`` takes the slant out of the image, ``views`` averages over three views of it.
        ``c16`` is a 3x3 convolution to 16 channels, ``r`` of filters in four rotations, ``p``
        padded, ``b`` with a bias, ``+P`` pooled before BatchNorm and ReLU; ``k5:16`` has another
        kernel; ``P`` is max pooling. A depthwise head is a ``D`` behind them.
        """
        names = [_name(layer) for layer in self.layers if not isinstance(layer, Dropout)]
        return " ".join(names + ["D"] * (self.head.kind == "depthwise-linear"))

    def one_line(self) -> str:
        """The human form: layout | head | dropout | optimiser and learning rate."""
        recipe = self.recipe
        rates = sorted({layer.rate for layer in self.layers if isinstance(layer, Dropout)} - {0.0})
        parts = [self.layout(), self.head.kind]
        if any(isinstance(layer, Conv) and not layer.norm for layer in self.layers):
            parts.append("no BN")
        if rates:
            parts.append("drop " + "–".join(f"{rate:.3g}" for rate in {rates[0]: 0, rates[-1]: 0}))
        parts.append(f"{recipe.optimizer} {recipe.learning_rate:.3g}")
        return " | ".join(parts)


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One line of a candidate's layer table; the figures are for one image."""

    name: str
    output_shape: tuple[int, ...]  # channels, height, width; classes for the head
    parameters: int
    macs: int  # multiply-accumulates
    input_values: int  # numbers that go in
    output_values: int  # the largest map that the layer writes


def layer_table(candidate: Candidate) -> list[LayerRow]:
    """The layers from the image to the logits, each with what it holds and costs.

    BatchNorm and ReLU belong to their convolution. Multiply-accumulates are those of the
    convolutions, the classifier and deskewing. BatchNorm is not counted: it folds into the weights
    for inference, but where pooling comes between, which leaves one a value of the pooled map.
    Behind ``Views`` they are those of all views, which are taken in turn: a map is that of one.

    Raises:
        ValueError: If a feature map vanishes; the message names the layer.
    """
    rows = []
    shape, views = INPUT_SHAPE, 1
    for layer in candidate.layers:
        if isinstance(layer, Dropout):
            continue
        if isinstance(layer, Views):
            views = VIEWS
            rows.append(_free_row(f"{VIEWS} views, moved by a pixel", shape, shape))
            continue
        row, shape = _layer_row(layer, shape)
        rows.append(replace(row, macs=views * row.macs))
    row = _head_row(candidate.head, shape)
    rows.append(replace(row, macs=views * row.macs))
    return rows


def count_parameters(candidate: Candidate) -> int:
    """Trainable parameters by formula; equal to ``sum(p.numel())`` of the built model."""
    return sum(row.parameters for row in layer_table(candidate))


def count_macs(candidate: Candidate) -> int:
    """Multiply-accumulates to classify one image."""
    return sum(row.macs for row in layer_table(candidate))


def peak_activation_bytes(candidate: Candidate, bytes_per_value: int = 4) -> int:
    """The largest input plus output of any layer, for one image: the RAM that inference needs.

    Layers run one after the other into fresh memory, BatchNorm and ReLU in place. Four bytes a
    value is float32; pass 1 for an int8 deployment.
    """
    rows = layer_table(candidate)
    return bytes_per_value * max(row.input_values + row.output_values for row in rows)


def _layer_row(layer: Conv | Pool | Deskew, shape: Shape) -> tuple[LayerRow, Shape]:
    channels, height, width = shape
    if isinstance(layer, Deskew):
        row = _free_row("deskew", shape, shape)
        return replace(row, macs=DESKEW_MACS * _size(shape)), shape
    if isinstance(layer, Pool):
        out = _pooled(shape, "P")
        return _free_row("max pooling 2×2", shape, out), out
    shrink = 2 * layer.padding - layer.kernel + 1
    full = (layer.width, height + shrink, width + shrink)
    if min(full) < 1:
        raise ValueError(
            f"the feature map vanishes: {_name(layer)} needs at least "
            f"{layer.kernel - 2 * layer.padding} pixels a side, but gets {height}×{width}"
        )
    out = _pooled(full, _name(layer)) if layer.early_pool else full
    weights = layer.kernel**2 * channels * layer.width
    filters = layer.width // ROTATIONS if layer.rotated else layer.width
    extras = filters * (int(layer.bias) + 2 * int(layer.norm))
    steps = [f"conv {layer.kernel}×{layer.kernel}" + (" padded" if layer.padding else "")]
    steps[0] += f" in {ROTATIONS} rotations" if layer.rotated else ""
    steps += ["max pooling 2×2"] * layer.early_pool + ["BatchNorm"] * layer.norm + ["ReLU"]
    row = LayerRow(
        name=", ".join(steps),
        output_shape=out,
        parameters=layer.kernel**2 * channels * filters + extras,
        macs=weights * full[1] * full[2],
        input_values=_size(shape),
        output_values=_size(full),
    )
    return row, out


def _free_row(name: str, shape: Shape, out: Shape) -> LayerRow:
    """A layer without parameters and multiply-accumulates."""
    return LayerRow(
        name=name,
        output_shape=out,
        parameters=0,
        macs=0,
        input_values=_size(shape),
        output_values=_size(out),
    )


def _head_row(head: Head, shape: Shape) -> LayerRow:
    channels, height, width = shape
    classes = head.classes
    positions, inputs, output_values = 1, channels, classes
    name = "global average pooling, linear"
    own = 0  # parameters before the linear layer
    if head.kind == "flatten-linear":
        inputs, name = _size(shape), "flatten, linear"
    elif head.kind == "depthwise-linear":
        own, name = _size(shape), f"depthwise conv {height}×{width}, linear"
    elif head.kind == "conv-gap":
        if head.kernel > min(height, width):
            raise ValueError(
                f"the feature map vanishes: the head's {head.kernel}×{head.kernel} kernel gets "
                f"{height}×{width} pixels"
            )
        inputs = channels * head.kernel**2
        positions = (height - head.kernel + 1) * (width - head.kernel + 1)
        output_values = classes * positions
        name = f"conv {head.kernel}×{head.kernel}, global average pooling"
    return LayerRow(
        name=name,
        output_shape=(classes,),
        parameters=own + classes * (inputs + int(head.bias)),
        macs=own + classes * inputs * positions,
        input_values=_size(shape),
        output_values=output_values,
    )


def _pooled(shape: Shape, name: str) -> Shape:
    channels, height, width = shape
    if min(height, width) < 2:
        raise ValueError(f"the feature map vanishes: {name} pools {height}×{width} pixels")
    return channels, height // 2, width // 2


def _size(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2]


def _name(layer: Conv | Pool | Deskew | Views) -> str:
    if isinstance(layer, Pool):
        return "P"
    if not isinstance(layer, Conv):
        return _OPS[type(layer)]
    name = f"c{layer.width}" if layer.kernel == 3 else f"k{layer.kernel}:{layer.width}"
    same = layer.padding == (layer.kernel - 1) // 2
    padded = ("p" if same else f"p{layer.padding}") if layer.padding else ""
    return name + "r" * layer.rotated + padded + "b" * layer.bias + "+P" * layer.early_pool


def build(candidate: Candidate) -> nn.Module:
    """The trainable network: ``[N, 1, 28, 28]`` float images to ``[N, classes]`` logits.

    Where pooling directly follows ReLU the two change places: the function and its gradient stay
    the same to the last bit, and ReLU has a quarter of the work.
    """
    from torch import nn

    return nn.Sequential(*_modules(candidate))


def _modules(candidate: Candidate) -> Iterator[nn.Module]:
    from torch import nn

    from search.layers import deskew, rotated
    from search.layers import test_time_augmentation as views

    channels, of_rotated = INPUT_SHAPE[0], False
    layers = list(candidate.layers)
    waiting: list[nn.Module] = []  # a ReLU that lets a pooling pass before it
    for layer in layers:
        if isinstance(layer, Deskew):
            yield deskew.Deskew()
            continue
        if isinstance(layer, Views):
            yield views.Views()
            continue
        if isinstance(layer, Pool):
            yield nn.MaxPool2d(2)
            continue
        yield from waiting
        waiting = []
        if isinstance(layer, Dropout):
            if layer.rate > 0.0:
                yield (nn.Dropout2d if layer.channelwise else nn.Dropout)(layer.rate)
            continue
        shape = (channels, layer.width, layer.kernel)
        if layer.rotated:
            yield rotated.RotatedConv2d(
                *shape, padding=layer.padding, bias=layer.bias, of_rotated=of_rotated
            )
        else:
            yield nn.Conv2d(*shape, padding=layer.padding, bias=layer.bias)
        if layer.early_pool:
            yield nn.MaxPool2d(2)
        if layer.norm:
            yield (rotated.RotatedBatchNorm2d if layer.rotated else nn.BatchNorm2d)(layer.width)
        waiting = [nn.ReLU(inplace=True)]
        channels, of_rotated = layer.width, layer.rotated
    yield from waiting
    head = candidate.head
    if head.kind == "conv-gap":
        yield nn.Conv2d(channels, head.classes, head.kernel, bias=head.bias)
    shapes = [INPUT_SHAPE, *(row.output_shape for row in layer_table(candidate))]
    values = math.prod(shapes[-2])
    if head.kind == "depthwise-linear":
        _, height, width = shapes[-2]
        weighted = nn.Conv2d(channels, channels, (height, width), groups=channels, bias=False)
        nn.init.constant_(weighted.weight, channels / values)  # begins as the average
        yield weighted
    elif head.kind != "flatten-linear":
        yield nn.AdaptiveAvgPool2d(1)
    yield nn.Flatten()
    if head.kind != "conv-gap":
        inputs = values if head.kind == "flatten-linear" else channels
        yield nn.Linear(inputs, head.classes, bias=head.bias)
    if Views() in layers:
        yield views.MeanOfViews()


def suggest(
    trial: BaseTrial,
    *,
    max_params: int = 20_000,
    max_macs: int | None = None,
    classes: int = CLASSES,
    handwriting: bool = True,
) -> Candidate:
    """Draw a candidate: three stages of 3x3 convolutions with max pooling between them.

    What is drawn is a shape, the depths of the stages and the ratios of their widths, and its size,
    the share of the limit that it may use (all of it up to 10,000). The widths follow: they are the
    largest of that shape and size. So a deeper network is a narrower one, and a sampler that has
    learned good widths for one depth may try another depth without leaving the limit.

    The convolutions of a stage share a width, but for the first of all: it sees one channel and
    the largest map, and may be narrower. A 1x1 convolution may follow the first stage. Only the
    last stage is padded, where maps have two to five pixels a side: elsewhere padding costs more
    and classifies no better. Pooling comes before BatchNorm and ReLU, which leaves them a quarter
    of the work. The evidence for this and for the ranges is in docs/log.md.

    Every parameter is drawn in every trial, those that the drawn depth leaves unused included:
    a parameter that some trials lack would drop out of the sampler's joint model for good.

    Args:
        trial: Draws the parameters.
        max_params: The limit of the search. Up to 10,000 it is capacity that is short: all of it
            may be used, there is hardly any dropout and no 1x1 convolution, handwriting is
            deskewed, the image may be seen in three views, filters may be in four rotations, and
            the classifier weighs the positions of the last map. Above, the size is drawn, and
            batch size and weight decay are larger.
        max_macs: The limit of multiply-accumulates of one image; None = no limit.
        classes: That the images have.
        handwriting: Whether their slant says nothing of their class.
    """
    large = max_params > 10_000  # what overfits gains by larger batches and more decay
    depths = (
        trial.suggest_int("depth_1", 2, 3),
        trial.suggest_int("depth_2", 1, 3),
        trial.suggest_int("depth_3", 1, 2),
    )
    narrow, wide = (1.0, 3.0) if large else (2.0, 4.5)
    ratios = Ratios(
        first=trial.suggest_float("width_first_to_1", 0.4, 1.2 if large else 0.9, log=True),
        second=trial.suggest_float("width_2_to_1", narrow, wide, log=True),
        third=trial.suggest_float("width_3_to_1", narrow, wide, log=True),
    )
    squeeze, rotated, head = None, False, Head(classes=classes)
    before: tuple[Layer, ...] = ()
    if large:
        to_1 = trial.suggest_float("squeeze_to_1", 0.7, 2.0, log=True)
        squeeze = to_1 if trial.suggest_int("squeeze", 0, 1) else None
    else:
        before = (Deskew(),) * handwriting
        before += (Views(),) * trial.suggest_int("views", 0, 1)
        rotated = trial.suggest_int("rotated", 0, 1) == 1
        head = Head(kind="depthwise-linear", classes=classes)
    size = trial.suggest_float("size", 0.4, 1.0) if large else 1.0
    most = 0.05 * math.sqrt(max_params / 20_000) if large else 0.02 * max_params / 20_000
    dropout = trial.suggest_float("dropout", 0.0, min(most, 0.5))
    strength = trial.suggest_float("augmentation", 0.5, 1.2)
    recipe = Recipe(
        learning_rate=trial.suggest_float("learning_rate", 0.05, 0.25, log=True),
        weight_decay=5e-4 if large else 3e-4,
        batch_size=192 if large else 128,
        average_decay=0.995,
        augmentation=Augmentation(  # fading to a fifth: six seeds with and without in docs/log.md
            rotation=15.0 * strength, shift=2.5 * strength, scale=0.15 * strength, final=0.2
        ),
    )

    def made(width: float, ratios: Ratios) -> Candidate:
        layers = _stages(depths, ratios, squeeze, width, dropout, rotated=rotated)
        return Candidate(layers=(*before, *layers), head=head, recipe=recipe)

    def fits(candidate: Candidate) -> bool:
        rows = layer_table(candidate)
        return sum(row.parameters for row in rows) <= size * max_params and (
            max_macs is None or sum(row.macs for row in rows) <= size * max_macs
        )

    # The counts only rise with the width of the first stage, and with each ratio.
    width = _largest(1.0, 512.0, lambda width: fits(made(width, ratios)))
    if not large:  # what rounding has left is for the third stage
        third = _largest(
            ratios.third, 512.0, lambda third: fits(made(width, replace(ratios, third=third)))
        )
        ratios = replace(ratios, third=third)
    return made(width, ratios)


def _largest(low: float, high: float, fits: Callable[[float], bool]) -> float:
    """The largest number between two that fits, within 0.2 per cent; the lower one if none does."""
    while high / low > 1.002:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


@dataclass(frozen=True, kw_only=True)
class Ratios:
    """Widths in units of the first stage's."""

    first: float  # of the very first convolution
    second: float  # of the second stage
    third: float


def _stages(
    depths: tuple[int, int, int],
    ratios: Ratios,
    squeeze: float | None,
    width: float,
    dropout: float,
    *,
    rotated: bool,
) -> tuple[Layer, ...]:
    def channels(ratio: float) -> int:
        if rotated:
            return max(1, round(width * ratio / ROTATIONS)) * ROTATIONS
        return max(2, round(width * ratio))

    layers: list[Layer] = []
    for stage, (depth, ratio) in enumerate(
        zip(depths, (1.0, ratios.second, ratios.third), strict=True)
    ):
        last = stage == len(depths) - 1
        for i in range(depth):
            pools = not last and i == depth - 1
            own = ratios.first if stage == i == 0 else ratio
            layers.append(
                Conv(width=channels(own), padding=int(last), early_pool=pools, rotated=rotated)
            )
        layers.append(Dropout(rate=dropout))
        if stage == 0 and squeeze is not None:
            layers.append(Conv(width=channels(squeeze), kernel=1))
    return tuple(layers)
