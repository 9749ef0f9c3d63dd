"""What a candidate costs, by formula: parameters, multiply-accumulates, activations, by layer.

Arithmetic on Python integers: milliseconds for a candidate, and torch is not even imported.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

from search.architecture.layers import ROTATIONS, TTA, Conv, Deskew, Dropout, Head, Pool, code
from search.candidates.costs import FLASH_OF_A_CHANNEL, Costs, LayerRow

if TYPE_CHECKING:
    from search.architecture.candidate import LayeredCandidate

INPUT_SHAPE = (1, 28, 28)  # channels, height, width; where a candidate's JSON names no other
DESKEW_MACS = 7  # a pixel: five moments and the two neighbours that are interpolated
COPIES = 3  # of an image in test-time augmentation

Shape = tuple[int, int, int]  # channels, height, width of one image's feature map


def layer_table(candidate: LayeredCandidate) -> list[LayerRow]:
    """The layers from the image to the logits, each with what it holds and costs.

    BatchNorm and ReLU belong to their convolution. Multiply-accumulates are those of the
    convolutions, the classifier and deskewing. BatchNorm is not counted: it folds into the weights
    for inference, but where pooling comes between, which leaves one a value of the pooled map.
    Behind ``TTA`` they are those of all copies, which are taken in turn: a map is that of one.

    Raises:
        ValueError: If a feature map vanishes; the message names the layer.
    """
    rows = []
    (channels, height, width), copies = candidate.input_shape, 1
    shape = channels, height, width
    for layer in candidate.layers:
        if isinstance(layer, Dropout):
            continue
        if isinstance(layer, TTA):
            copies = COPIES
            rows.append(_free_row(f"{COPIES} copies, moved by a pixel", shape, shape))
            continue
        row, shape = _layer_row(layer, shape)
        rows.append(replace(row, macs=copies * row.macs))
    row = _head_row(candidate.head, shape)
    rows.append(replace(row, macs=copies * row.macs))
    return rows


def count_all(candidate: LayeredCandidate) -> Costs:
    """All of it."""
    rows = layer_table(candidate)
    return Costs(
        parameters=sum(row.parameters for row in rows),
        macs=sum(row.macs for row in rows),
        peak_activation_bytes=_peak_bytes(rows, 4),
        flash_bytes=flash_bytes(candidate),
        layers=tuple(rows),
    )


def flash_bytes(candidate: LayeredCandidate) -> int:
    """Bytes of an int8 network's constants: ``search.candidates.costs`` says which.

    Filters in rotations are written out: a microcontroller reads plain ones.
    """
    (channels, height, width), total = candidate.input_shape, 0
    shape = channels, height, width
    for layer in candidate.layers:
        if isinstance(layer, Dropout | TTA):
            continue
        if isinstance(layer, Conv):
            total += layer.width * (layer.kernel**2 * shape[0] + FLASH_OF_A_CHANNEL)
        _, shape = _layer_row(layer, shape)
    head, channels = candidate.head, shape[0]
    inputs = {"flatten-linear": _size(shape), "conv-gap": channels * head.kernel**2}
    total += head.classes * (inputs.get(head.kind, channels) + FLASH_OF_A_CHANNEL)
    if head.kind == "depthwise-linear":
        total += _size(shape) + channels * FLASH_OF_A_CHANNEL
    return total


def count_parameters(candidate: LayeredCandidate) -> int:
    """Trainable parameters by formula; equal to ``sum(p.numel())`` of the built model."""
    return sum(row.parameters for row in layer_table(candidate))


def count_macs(candidate: LayeredCandidate) -> int:
    """Multiply-accumulates to classify one image."""
    return sum(row.macs for row in layer_table(candidate))


def peak_activation_bytes(candidate: LayeredCandidate, bytes_per_value: int = 4) -> int:
    """The largest input plus output of any layer, for one image: the RAM that inference needs.

    Layers run one after the other into fresh memory, BatchNorm and ReLU in place; a pooling that
    belongs to a convolution or to the head is a step of its own here. Four bytes a
    value is float32; pass 1 for an int8 deployment.
    """
    return _peak_bytes(layer_table(candidate), bytes_per_value)


def _peak_bytes(rows: list[LayerRow], bytes_per_value: int) -> int:
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
            f"the feature map vanishes: {code(layer)} needs at least "
            f"{layer.kernel - 2 * layer.padding} pixels a side, but gets {height}×{width}"
        )
    out = _pooled(full, code(layer)) if layer.early_pool else full
    weights = layer.kernel**2 * channels * layer.width
    filters = layer.width // ROTATIONS if layer.rotated else layer.width
    extras = filters * (int(layer.bias) + 2 * int(layer.norm))
    steps = [f"conv {layer.kernel}×{layer.kernel}" + (" padded" if layer.padding else "")]
    steps[0] += f" in {ROTATIONS} rotations" if layer.rotated else ""
    steps += ["max pooling 2×2"] * layer.early_pool + ["BatchNorm"] * layer.norm + ["ReLU"]
    read, written = _largest_step(
        *map(_size, (shape, full, out) if layer.early_pool else (shape, full))
    )
    row = LayerRow(
        name=", ".join(steps),
        output_shape=out,
        parameters=layer.kernel**2 * channels * filters + extras,
        macs=weights * full[1] * full[2],
        input_values=read,
        output_values=written,
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
    positions, inputs = 1, channels
    sizes: tuple[int, ...] = (
        _size(shape),
        channels,
        classes,
    )  # of what comes in, is between and goes out
    name = "global average pooling, linear"
    own = 0  # parameters before the linear layer
    if head.kind == "flatten-linear":
        inputs, name = _size(shape), "flatten, linear"
        sizes = (inputs, classes)
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
        sizes = (_size(shape), classes * positions, classes)
        name = f"conv {head.kernel}×{head.kernel}, global average pooling"
    read, written = _largest_step(*sizes)
    return LayerRow(
        name=name,
        output_shape=(classes,),
        parameters=own + classes * (inputs + int(head.bias)),
        macs=own + classes * inputs * positions,
        input_values=read,
        output_values=written,
    )


def _largest_step(*sizes: int) -> tuple[int, int]:
    """Input and output of the step that needs most, given all that is read or written in order."""
    return max(pairwise(sizes), key=sum)


def _pooled(shape: Shape, name: str) -> Shape:
    channels, height, width = shape
    if min(height, width) < 2:
        raise ValueError(f"the feature map vanishes: {name} pools {height}×{width} pixels")
    return channels, height // 2, width // 2


def _size(shape: Shape) -> int:
    return shape[0] * shape[1] * shape[2]
