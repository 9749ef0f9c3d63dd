"""A candidate of layers: an architecture and the recipe that trains it, as a value and as JSON."""

from __future__ import annotations

import dataclasses
import json
import reprlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from search.architecture.counting import INPUT_SHAPE, count_all, layer_table
from search.architecture.layers import (
    CLASSES,
    TTA,
    Conv,
    Deskew,
    Dropout,
    Head,
    Layer,
    Pool,
    code,
)
from search.common.typed_json import decode, loads
from search.training.recipe import Augmentation, Recipe

if TYPE_CHECKING:
    from torch import nn

    from search.candidates.costs import Costs

DEEPEST = 256  # layers of a candidate
# By the names that the JSON of kept studies has for them.
OPS: dict[str, type[Layer]] = {
    "conv": Conv,
    "pool": Pool,
    "dropout": Dropout,
    "deskew": Deskew,
    "views": TTA,
}
NEWER = ("mirror", "brightness", "cutout")  # amounts that older studies' JSON does not name
NAMES = {kind: op for op, kind in OPS.items()}


@dataclass(frozen=True, kw_only=True)
class LayeredCandidate:
    """An architecture of the layers that this program knows, and the recipe that trains it."""

    layers: tuple[Layer, ...]
    head: Head = Head()
    recipe: Recipe = Recipe()
    input_shape: tuple[int, ...] = INPUT_SHAPE  # of an image: channels, height, width

    def __post_init__(self) -> None:
        if len(self.input_shape) != 3 or min(self.input_shape) < 1:
            raise ValueError(
                "an input shape is channels, height and width, but got "
                f"{reprlib.repr(list(self.input_shape))}"
            )
        if len(self.layers) > DEEPEST:
            raise ValueError(
                f"a candidate has at most {DEEPEST} layers, but got {len(self.layers):,}"
            )
        if Deskew() in self.layers and self.input_shape[0] != 1:
            raise ValueError(f"deskew is for grey images, not for {self.input_shape[0]} channels")
        if any(isinstance(layer, Deskew) for layer in self.layers[1:]):
            raise ValueError("deskew works on images: it can only be the first layer")
        before = self.layers.index(TTA()) if TTA() in self.layers else 0
        if self.layers[:before] not in ((), (Deskew(),)) or self.layers.count(TTA()) > 1:
            raise ValueError(
                "test-time augmentation is of images: only deskew can come before, and only once"
            )

    def to_json(self) -> str:
        """The whole candidate as one line of JSON; ``from_json`` gives an equal one back."""
        layers = [{"op": NAMES[type(layer)], **dataclasses.asdict(layer)} for layer in self.layers]
        head = dataclasses.asdict(self.head)
        if self.head.classes == CLASSES:  # kept weights are known by the JSON of their candidate
            del head["classes"]
        recipe = dataclasses.asdict(self.recipe)
        for name in NEWER:
            if recipe["augmentation"][name] == getattr(Augmentation, name):
                del recipe["augmentation"][name]
        rest: dict[str, object] = {"head": head, "recipe": recipe}
        if self.input_shape != INPUT_SHAPE:  # likewise
            rest["input_shape"] = self.input_shape
        return json.dumps({"layers": layers, **rest})

    @property
    def name(self) -> str:
        """The human form: layout | head | dropout | optimiser and learning rate."""
        return self.one_line()

    @property
    def build(self) -> Callable[[], nn.Module]:
        """Makes the network."""
        return self._build

    def _build(self) -> nn.Module:
        from search.architecture.building import build  # imports torch

        return build(self)

    def costs(self) -> Costs:
        """What it costs, by formula."""
        return count_all(self)

    @classmethod
    def from_json(cls, text: str) -> LayeredCandidate:
        """Read a candidate; fields left out take their defaults.

        Raises:
            ValueError: If the text is not JSON, a field is unknown or of the wrong type, a value
                is out of range, or the feature map vanishes; the message says which.
        """
        data = loads(text)
        if not isinstance(data, dict) or not isinstance(data.get("layers"), list):
            raise ValueError('a candidate is an object with a list "layers"')
        unknown = set(data) - {"layers", "head", "recipe", "input_shape"}
        if unknown:
            raise ValueError(f"a candidate has no field {reprlib.repr(sorted(unknown)[0])}")
        layers = []
        for item in data["layers"]:
            op = item.get("op") if isinstance(item, dict) else item
            if not isinstance(op, str) or op not in OPS:
                raise ValueError(
                    f'a layer\'s "op" is one of {", ".join(OPS)}, but got {reprlib.repr(op)}'
                )
            fields = {key: value for key, value in item.items() if key != "op"}
            layers.append(decode(OPS[op], fields))
        shape = data.get("input_shape", list(INPUT_SHAPE))
        if not isinstance(shape, list) or not all(type(size) is int for size in shape):
            raise ValueError(f"input_shape must be three numbers, but got {reprlib.repr(shape)}")
        candidate = cls(
            layers=tuple(layers),
            head=decode(Head, data.get("head", {})),
            recipe=decode(Recipe, data.get("recipe", {})),
            input_shape=tuple(shape),
        )
        layer_table(candidate)  # raises where the feature map vanishes
        return candidate

    def layout(self) -> str:
        """The layers, for instance ``c8 c16 P k1:8 c32p``: equal for equal ones and a usual head.

        ``deskew`` takes the slant out of the image, ``tta`` averages over three moved copies of it.
        ``c16`` is a 3x3 convolution to 16 channels, ``r`` of filters in four rotations, ``p``
        padded, ``b`` with a bias, ``+P`` pooled before BatchNorm and ReLU; ``k5:16`` has another
        kernel; ``P`` is max pooling. A depthwise head is a ``D`` behind them.
        """
        names = [code(layer) for layer in self.layers if not isinstance(layer, Dropout)]
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
