"""What a network costs to hold and to run, as values; torch is not imported."""

from __future__ import annotations

from dataclasses import dataclass

# What an int8 network keeps beside a byte for each weight: for each output channel of a convolution
# or a linear layer an int32 bias, into which BatchNorm is folded, and an int32 multiplier with an
# int8 shift, by which sums become int8 again (Jacob et al. 2018, "Quantization and training of
# neural networks for efficient integer-arithmetic-only inference", section 2.4).
FLASH_OF_A_CHANNEL = 4 + 4 + 1  # bytes


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
    flash_bytes: int  # of the constants of an int8 network, as ``FLASH_OF_A_CHANNEL`` explains
    layers: tuple[LayerRow, ...]
    kinds: tuple[str, ...] = ()  # names of its modules' classes, each once, where it was measured
    dropout: tuple[float, ...] = ()  # rates above zero, ascending, likewise
