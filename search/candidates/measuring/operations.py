"""What torch's operations are: which multiply and add, which can work in place.

By the names that they have in the dispatcher (``aten.convolution.default`` is ``convolution``).
Matrix products and convolutions are all that is counted, as in ``search.architecture.counting``:
not biases, norms, activations, pooling, interpolation and Fourier transforms, nor sums of products
that are written out with ``*`` and ``sum``. Grouped and depthwise convolutions have smaller
weights. Padding is counted as if it were pixels.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload


def _convolution(given: Sequence[Any], output: Tensor) -> int:
    """Every weight is used at every position: of the input where it is transposed."""
    image, weight, transposed = given[0], given[1], given[6]
    positions = math.prod((image if transposed else output).shape[2:])
    return positions * int(output.shape[0]) * int(weight.numel())


def _product(first: int) -> Callable[[Sequence[Any], Tensor], int]:
    """The product of two matrices, or of two batches of them, that begins at an argument."""
    return lambda given, _output: given[first].numel() * given[first + 1].shape[-1]


def _with_vector(first: int) -> Callable[[Sequence[Any], Tensor], int]:
    return lambda given, _output: given[first].numel()


def _bilinear(given: Sequence[Any], _output: Tensor) -> int:
    return int(given[0].shape[0] * given[1].numel())


MACS: dict[str, Callable[[Sequence[Any], Tensor], int]] = {
    "convolution": _convolution,
    "mm": _product(0),
    "bmm": _product(0),
    "addmm": _product(1),
    "addbmm": _product(1),
    "baddbmm": _product(1),
    "mv": _with_vector(0),
    "dot": _with_vector(0),
    "addmv": _with_vector(1),
    "_trilinear": _bilinear,  # nn.Bilinear
}

# Norms first find their statistics, softmax its sum, and then change value by value.
BATCH_NORMS = {"native_batch_norm", "_native_batch_norm_legit"}
BATCH_NORMS |= {"_native_batch_norm_legit_no_training"}
NORMS = BATCH_NORMS | {"native_group_norm", "native_layer_norm"}
_IN_PLACE = NORMS | {"_softmax", "_log_softmax", "_safe_softmax", "_prelu_kernel", "hardswish"}
_IN_PLACE |= {"log_sigmoid_forward", "rrelu_with_noise", "native_dropout", "_to_copy"}


def name_of(operation: OpOverload) -> str:
    """``convolution`` of ``aten.convolution.default``."""
    return str(operation).split(".")[1]


def can_work_in_place(operation: OpOverload) -> bool:
    """Whether its output may take its input's place: value by value, each from the same one."""
    return torch.Tag.pointwise in operation.tags or name_of(operation) in _IN_PLACE


def changes_its_input(operation: OpOverload) -> bool:
    """Whether it is written to change its input, as ``add_`` is: by torch's rule for names."""
    return name_of(operation).endswith("_")
