"""Builds a candidate's network."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import nn

from search.architecture.candidate import LayeredCandidate
from search.architecture.counting import layer_table
from search.architecture.layers import TTA, Deskew, Dropout, Pool
from search.layers import deskew, rotated, test_time_augmentation


def build(candidate: LayeredCandidate) -> nn.Module:
    """The trainable network: float images ``[N, *input_shape]`` to ``[N, classes]`` logits.

    Where pooling directly follows ReLU the two change places: the function and its gradient stay
    the same to the last bit, and ReLU has a quarter of the work.
    """
    return nn.Sequential(*_modules(candidate))


def _modules(candidate: LayeredCandidate) -> Iterator[nn.Module]:
    channels, of_rotated = candidate.input_shape[0], False
    layers = list(candidate.layers)
    waiting: list[nn.Module] = []  # a ReLU that lets a pooling pass before it
    for layer in layers:
        if isinstance(layer, Deskew):
            yield deskew.Deskew()
            continue
        if isinstance(layer, TTA):
            yield test_time_augmentation.ShiftedCopies()
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
    shapes = [candidate.input_shape, *(row.output_shape for row in layer_table(candidate))]
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
    if TTA() in layers:
        yield test_time_augmentation.MeanOfCopies()
