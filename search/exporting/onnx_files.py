"""A network as ONNX, in float32 and quantised to int8, and what onnxruntime makes of both."""

from __future__ import annotations

import contextlib
import copy
import io
import logging
import warnings
from collections.abc import Iterator
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from search.common.errors import UserError, root_of

if TYPE_CHECKING:
    from torch import nn

FLOAT32 = "model.onnx"
INT8 = "model_int8.onnx"
INPUT, OUTPUT = "images", "logits"
BATCH = 500  # images that are predicted or calibrated on at once

Pixels = npt.NDArray[np.uint8]  # [N, C, H, W]
Logits = npt.NDArray[np.float32]  # [N, classes]


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Turn what the exporter and the runtime raise of a network into one line.

    Raises:
        UserError: If they do.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        raise UserError(
            f"the network cannot be written as ONNX ({root_of(error)})",
            "Use other layers: everything but the export works with these",
        ) from error


def write_onnx(network: nn.Module, file: Path, input_shape: tuple[int, int, int]) -> None:
    """Write a network, ready to predict, for batches of any size.

    BatchNorm is folded into the weights where it directly follows its convolution, and filters in
    several rotations are written out as the plain convolution that they are.

    Args:
        network: Takes ``[N, C, H, W]`` float32 with pixel values from 0 to 255.
        file: Holds the weights too.
        input_shape: Channels, height and width.
    """
    import onnx
    import torch

    quiet = io.StringIO()  # the exporter talks of its steps, and warns of its own insides
    with warnings.catch_warnings(), contextlib.redirect_stdout(quiet):
        warnings.simplefilter("ignore")
        torch.onnx.export(
            _written_out(network).eval(),
            (torch.zeros(2, *input_shape),),
            file,
            input_names=[INPUT],
            output_names=[OUTPUT],
            dynamic_shapes=({0: torch.export.Dim("images")},),
            external_data=False,
            verbose=False,
        )
    written = onnx.load(file)
    for node in (*written.graph.node, *written.graph.value_info, written.graph):
        del node.metadata_props[:]  # where in which file of this machine each step came from
        node.doc_string = ""
    onnx.checker.check_model(written)
    onnx.save(written, file)


def _written_out(network: nn.Module) -> nn.Module:
    """The network with plain convolutions for ``RotatedConv2d``, of whichever file that is.

    The exporter computes small weights in advance by itself, and leaves large ones to the runtime.
    """
    written = copy.deepcopy(network)
    for parent in list(written.modules()):
        for name, layer in parent.named_children():
            if type(layer).__name__ == "RotatedConv2d":
                setattr(parent, name, _plain(layer))
    return written


def _plain(layer: Any) -> nn.Module:
    """The plain convolution that a rotated one computes."""
    from torch import nn

    shape = (layer.in_channels, layer.out_channels, layer.kernel_size)
    plain = nn.Conv2d(*shape, padding=layer.padding)
    plain.weight, plain.bias = nn.Parameter(layer.expanded(layer.weight)), layer.bias
    return plain


def write_int8(float32: Path, file: Path, calibration: Pixels) -> None:
    """Quantise an ONNX network: weights and activations to int8, one scale a channel of weights.

    What comes before the first layer of weights stays in float32: deskewing has no weights, and its
    moments need more digits. Static, in the QDQ form that runtimes of microcontrollers and
    accelerators read. The ranges of the activations are those seen on the calibration images.

    Args:
        float32: As ``write_onnx`` wrote it.
        file: Where to write.
        calibration: Training images, as they are.
    """
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    with _quiet_logging():
        quantize_static(
            float32,
            file,
            _reader(calibration),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            nodes_to_exclude=_before_weights(float32),
        )


def _before_weights(file: Path) -> list[str]:
    """The names of the steps before the first with weights, in an order that data may take."""
    import onnx

    weighted = ("Conv", "Gemm", "MatMul")
    nodes = onnx.load(file).graph.node
    return [node.name for node in takewhile(lambda node: node.op_type not in weighted, nodes)]


def _reader(images: Pixels) -> Any:
    """The images in batches, as onnxruntime's calibration asks for them."""
    from onnxruntime.quantization import CalibrationDataReader

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        def __init__(self) -> None:
            starts = range(0, len(images), BATCH)
            self._batches = iter(_input(images[start : start + BATCH]) for start in starts)

        def get_next(self) -> dict[str, npt.NDArray[np.float32]] | None:
            batch = next(self._batches, None)
            return None if batch is None else {INPUT: batch}

    return Reader()


@contextlib.contextmanager
def _quiet_logging() -> Any:
    """The quantiser advises a preparation that the exporter has already done."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        yield
    finally:
        root.setLevel(level)


def predict(file: Path, images: Pixels) -> Logits:
    """What onnxruntime answers on the CPU, with one thread."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    parts = [
        session.run([OUTPUT], {INPUT: _input(images[start : start + BATCH])})[0]
        for start in range(0, len(images), BATCH)
    ]
    logits: Logits = np.concatenate(parts)
    return logits


def weight_bytes(file: Path) -> int:
    """Bytes of the numbers that an ONNX file holds, without its description of the graph."""
    import onnx

    graph = onnx.load(file).graph
    return sum(onnx.numpy_helper.to_array(tensor).nbytes for tensor in graph.initializer)


def _input(images: Pixels) -> npt.NDArray[np.float32]:
    return images.astype(np.float32)
