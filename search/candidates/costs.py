"""What a network costs to hold and to run, as values; torch is not imported."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LayerRow:
    """One line of a network's layer table; the figures are for one image.

    A layer may work in several steps, a convolution and its pooling for instance. What goes in and
    out is that of the step with the largest sum.
    """

    name: str
    output_shape: tuple[int, ...]  # channels, height, width; classes for the head
    parameters: int
    macs: int  # multiply-accumulates
    input_values: int  # numbers that go into the largest step
    output_values: int  # numbers that come out of it


class WrongOutput(ValueError):
    """A network does not give a logit for each class."""


@dataclass(frozen=True, kw_only=True)
class Costs:
    """What a network costs; the rows of its layers add up to its parameters and its work."""

    parameters: int
    macs: int  # multiply-accumulates to classify one image
    peak_activation_bytes: int  # float32, one image
    layers: tuple[LayerRow, ...]
    kinds: tuple[str, ...] = ()  # names of its modules' classes, each once, where it was measured
    dropout: tuple[float, ...] = ()  # rates above zero, ascending, likewise
