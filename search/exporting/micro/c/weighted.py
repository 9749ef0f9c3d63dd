"""Operators in C that move a kernel over a map or multiply by weights."""

from __future__ import annotations

import numpy as np

from search.exporting.micro.c.declarations import multiplier_of
from search.exporting.micro.c.writing import Unwritable, Writing
from search.exporting.micro.graph import SAME, Operator


def convolution(writing: Writing, operator: Operator, number: int) -> str:
    """A convolution, in groups or depthwise."""
    in_c, out_c = (shape[3] for shape in writing.four(operator))
    _, kernel_h, kernel_w, last = writing.graph.shape(operator.inputs[1] or 0)
    depthwise = operator.kind == "DEPTHWISE_CONV_2D"
    group = out_c // in_c if depthwise else last
    window = _window(writing, operator, number, (kernel_h, kernel_w), group)
    scaling = _scaling(writing, operator, number, out_c)
    kernel = writing.declared.use("depthwise_conv_2d" if depthwise else "conv_2d")
    source, target = writing.places(operator)
    return f"{kernel}(&{window}, &{scaling}, {source}, {target});"


def fully_connected(writing: Writing, operator: Operator, number: int) -> str:
    """A linear layer."""
    outputs, taken = writing.graph.shape(operator.inputs[1] or 0)
    rows = writing.graph.tensors[operator.outputs[0]].values // outputs
    scaling = _scaling(writing, operator, number, outputs)
    source, target = writing.places(operator)
    kernel = writing.declared.use("fully_connected")
    return f"{kernel}(&{scaling}, {source}, {target}, {rows}, {taken}, {outputs});"


def pool(writing: Writing, operator: Operator, number: int) -> str:
    """The largest or the mean of each window."""
    kernel = (operator.options["filterHeight"], operator.options["filterWidth"])
    window = _window(writing, operator, number, kernel, 1)
    name = writing.declared.use("max_pool" if operator.kind == "MAX_POOL_2D" else "average_pool")
    source, target = writing.places(operator)
    low, high = writing.limits(operator)
    return f"{name}(&{window}, {source}, {target}, {low}, {high});"


def _window(
    writing: Writing, operator: Operator, number: int, kernel: tuple[int, int], group: int
) -> str:
    """How a kernel moves over a map; returns the name of the constant that says it."""
    (_, in_h, in_w, in_c), (_, out_h, out_w, out_c) = writing.four(operator)
    options = operator.options
    strides = (options["strideH"], options["strideW"])
    dilations = (options.get("dilationHFactor", 1), options.get("dilationWFactor", 1))
    pads = [
        max((out - 1) * stride + (taps - 1) * dilation + 1 - size, 0) // 2
        if options["padding"] == SAME
        else 0
        for size, out, taps, stride, dilation in zip(
            (in_h, in_w), (out_h, out_w), kernel, strides, dilations, strict=True
        )
    ]
    sizes = (in_h, in_w, in_c, out_h, out_w, out_c, *kernel, group)
    listed = ", ".join(map(str, (*sizes, *strides, *dilations, *pads)))
    return writing.declared.struct("window_t", f"window_{number}", listed)


def _scaling(writing: Writing, operator: Operator, number: int, channels: int) -> str:
    """Weights, and how sums become values; returns the name of the constant that says it."""
    taken, weights, given = operator.inputs[0], operator.inputs[1], operator.outputs[0]
    assert taken is not None and weights is not None
    a, w, out = (writing.graph.tensors[index] for index in (taken, weights, given))
    if w.data is None:
        raise Unwritable(f"{operator.kind} whose weights are computed")
    names = [writing.declared.weights(f"weights_{number}", writing.type, w.data)]
    bias = operator.inputs[2] if len(operator.inputs) > 2 else None
    if bias is None:
        names.append("NULL")
    else:
        kind = "int32_t" if writing.is_int8 else "float"
        data = writing.graph.tensors[bias].data
        names.append(writing.declared.array(f"bias_{number}", kind, data))
    if writing.is_int8:
        scales = np.broadcast_to(w.scales.astype(np.float64), channels)
        factors = [multiplier_of(a.scale * float(of) / out.scale) for of in scales]
        multipliers, shifts = zip(*factors, strict=True)
        names.append(writing.declared.array(f"multipliers_{number}", "int32_t", multipliers))
        names.append(writing.declared.array(f"shifts_{number}", "int8_t", shifts))
        names += [str(a.zero), str(out.zero)]
    listed = ", ".join((*names, *writing.limits(operator)))
    return writing.declared.struct("scaling_t", f"scaling_{number}", listed)
