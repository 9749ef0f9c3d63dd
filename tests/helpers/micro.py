"""Networks whose files for a microcontroller are written, compiled and compared."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from search.data.dataset import Split
from search.data.problem import Problem
from search.exporting.micro.interpreter import MicroInterpreter
from search.exporting.micro.making import Micro, Reference, write_micro
from search.exporting.micro.parts import take_apart

IMAGES = 24


def trained(*layers: nn.Module, negative: bool = False) -> nn.Sequential:
    """A network of the same weights each time; BatchNorm has statistics and weights of its own."""
    torch.manual_seed(0)
    network = nn.Sequential(*layers).eval()
    for layer in network.modules():
        reset = getattr(layer, "reset_parameters", None)
        if reset is not None:
            reset()
        if isinstance(layer, nn.BatchNorm2d):
            if layer.running_mean is not None and layer.running_var is not None:
                layer.running_mean.normal_()
                layer.running_var.uniform_(0.5, 2)
            if layer.affine:
                layer.weight.data.uniform_(-2 if negative else 0.5, 2)
                layer.bias.data.normal_()
    return network


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


def images_of(problem: Problem, mnist: tuple[np.ndarray, np.ndarray]) -> Split:
    images, labels = mnist
    if problem.channels == 1:
        return Split(images=images[:IMAGES, None], labels=labels[:IMAGES])
    chance = np.random.default_rng(0)
    shape = (IMAGES, *problem.input_shape)
    colours = chance.integers(0, 256, shape, dtype=np.uint8)
    return Split(images=colours, labels=labels[:IMAGES])


def logits_of(network: nn.Module, problem: Problem, split: Split) -> np.ndarray:
    mean, std = (torch.tensor(of).view(-1, 1, 1) for of in (problem.mean, problem.std))
    with torch.no_grad():
        logits: np.ndarray = network.eval()(
            (torch.from_numpy(split.images) / 255 - mean) / std
        ).numpy()
    return logits


def written(folder: Path, network: nn.Module, problem: Problem, split: Split) -> Micro:
    reference = Reference(validation=split, logits=logits_of(network, problem, split))
    return write_micro(
        folder, network, problem, reference, calibration=split.images, title="a test's network"
    )


def library(folder: Path, name: str) -> ctypes.CDLL:
    """A folder's C, compiled without a warning."""
    compiler = shutil.which("cc")
    if compiler is None and not os.environ.get("MICRO_TESTS_REQUIRED"):
        pytest.skip("no C compiler")
    assert compiler is not None
    made = folder / f"{name}.so"
    flags = ["-std=c99", "-O2", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC"]
    flags += ["-fsanitize=undefined", "-fno-sanitize-recover"]
    command = [compiler, *flags, "-o", str(made), str(folder / f"{name}.c"), "-lm"]
    subprocess.run(command, check=True)
    return ctypes.CDLL(str(made))


def pointer(array: np.ndarray) -> Any:
    return array.ctypes.data_as(ctypes.c_void_p)


def compare(
    folder: Path, network: nn.Module, problem: Problem, split: Split, *, exact: bool
) -> None:
    """The C's layers against the interpreter's, and the C as a whole on pixels."""
    parts = take_apart(network, problem)
    taken = np.ascontiguousarray(
        parts.prepared(torch.from_numpy(split.images)).permute(0, 2, 3, 1).numpy()
    )
    for kind in ("float32", "int8"):
        name = f"model_{kind}"
        found = MicroInterpreter((folder / f"{name}.tflite").read_bytes())
        functions = library(folder, name)
        values, steps = found.quantized(taken), []
        for value in values:
            logits = np.zeros(10, values.dtype)
            getattr(functions, f"{name}_run")(pointer(value.copy()), pointer(logits))
            steps.append(np.abs(logits.astype(float) - found.run(value[None])[0]).max())
        assert max(steps) <= (1e-5 if kind == "float32" else 0 if exact else 1)
        expected = found.predict(taken, parts.copies)
        classify = getattr(functions, f"{name}_classify")
        logits = np.zeros((IMAGES, 10), np.float32)
        labels = []
        for at, image in enumerate(split.images):
            pixels = np.ascontiguousarray(image.transpose(1, 2, 0))
            labels.append(classify(pointer(pixels), pointer(logits[at])))
        assert labels == logits.argmax(1).tolist() == expected.argmax(1).tolist()
