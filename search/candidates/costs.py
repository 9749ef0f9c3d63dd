"""What a network costs, known before it is trained."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One line of a network's layer table; the figures are for one image."""

    name: str
    output_shape: tuple[int, ...]  # channels, height, width; classes for the head
    parameters: int
    macs: int  # multiply-accumulates
    input_values: int  # numbers that go in
    output_values: int  # the largest map that the layer writes


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a network holds, and what it takes to classify one image."""

    parameters: int
    macs: int  # multiply-accumulates
    peak_activation_bytes: int  # in float32
    layers: tuple[LayerRow, ...]  # from the image to the logits
