"""A network as TensorFlow Lite files, in float32 and fully in int8.

LiteRT's own converter and quantiser write them; both are optional requirements, and no search
imports them.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from search.common.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor
    from torch.fx import GraphModule

PACKAGES = ("litert_torch", "ai_edge_quantizer", "ai_edge_litert", "tflite_micro")
SIGNATURE = "serving_default"
Values = npt.NDArray[np.float32]


def require_packages() -> None:
    """Import what ``--micro`` needs.

    Raises:
        UserError: If a package is missing; how to install them is in it.
    """
    try:
        with captured():
            for package in PACKAGES:
                importlib.import_module(package)
    except ImportError as error:
        raise UserError(
            f"--micro needs packages that are not installed: {error}",
            f"Run {sys.executable} -m pip install -r requirements-micro.txt",
        ) from None


@contextlib.contextmanager
def captured() -> Iterator[Any]:
    """Keep what is printed within, by libraries in C++ too, in a file that is yielded.

    Nothing of it is shown: the converter and the interpreter tell of their steps.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    kept = [os.dup(1), os.dup(2)]
    with tempfile.TemporaryFile() as file:
        try:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            yield file
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            for number, before in zip((1, 2), kept, strict=True):
                os.dup2(before, number)
                os.close(before)


def to_float32(
    core: GraphModule, example: tuple[Tensor, ...], *, channels_last: bool = True
) -> bytes:
    """A TensorFlow Lite file of a graph in float32.

    Args:
        core: As ``rewriting.rewritten`` gives it.
        example: What it takes.
        channels_last: Images come as ``[1, H, W, C]``, not as torch has them.

    Raises:
        UserError: If the converter does not know one of its operators.
    """
    import litert_torch

    with captured():
        converted = core
        if channels_last:
            converted = litert_torch.to_channel_last_io(core, args=[0])
            example = (example[0].permute(0, 2, 3, 1),)
        try:
            made = litert_torch.convert(converted, example)
        except Exception as error:
            reason = str(error).strip().splitlines()[:1]
            raise UserError(
                f"the network cannot be converted to TensorFlow Lite: {' '.join(reason)}",
                "Use other layers, or export without --micro",
            ) from None
        with tempfile.TemporaryDirectory() as folder:
            made.export(str(Path(folder) / "model.tflite"))
            return (Path(folder) / "model.tflite").read_bytes()


def to_int8(float32: bytes, images: Values) -> bytes:
    """The same in int8 from input to output, but for operators that the quantiser does not know.

    Weights have a scale for each output channel, activations the range seen on some images.

    Args:
        float32: As ``to_float32`` gives it.
        images: ``[N, H, W, C]``, as the graph takes them.

    Raises:
        UserError: If the quantiser cannot do it.
    """
    from ai_edge_quantizer import quantizer, recipe

    wanted = recipe.static_wi8_ai8()
    with captured(), tempfile.TemporaryDirectory() as folder:
        source, made = Path(folder) / "float32.tflite", Path(folder) / "int8.tflite"
        source.write_bytes(float32)
        seen = {SIGNATURE: [{"args_0": image[None]} for image in images]}
        try:
            ranges = _ranges(source, seen, wanted)
            quantizing = quantizer.Quantizer(str(source), wanted)
            quantizing.quantize(ranges).export_model(str(made))
            return made.read_bytes()
        except Exception as error:
            reason = " ".join(str(error).strip().splitlines()[:1])
            raise UserError(
                f"the network cannot be quantised to int8: {reason or type(error).__name__}",
                "Use other layers, or export without --micro",
            ) from None


def _ranges(source: Path, seen: dict[str, Any], wanted: Any) -> Any:
    """The least and the largest value of each activation, over all images.

    The quantiser's own way is a moving average, beyond which an unusual image's logits are cut off.
    """
    from ai_edge_quantizer import calibrator, recipe_manager

    def widened(before: dict[str, Any], now: dict[str, Any]) -> dict[str, Any]:
        return {
            **now,
            "min": np.minimum(before["min"], now["min"]),
            "max": np.maximum(before["max"], now["max"]),
        }

    manager = recipe_manager.RecipeManager()
    manager.load_quantization_recipe(wanted)
    found = calibrator.Calibrator(str(source), qsv_update_func=widened)
    found.calibrate(seen, manager)
    return found.get_model_qsvs()
