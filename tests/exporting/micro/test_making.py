"""The files for a microcontroller: each form agrees with TensorFlow Lite Micro, image by image."""

from __future__ import annotations

import ctypes
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from optuna.samplers import RandomSampler
from torch import Tensor, nn

from search.architecture.limits import Limits
from search.candidates.costs import Costs
from search.common.errors import UserError
from search.data.dataset import Split
from search.data.problem import MNIST_PROBLEM, Problem
from search.exporting.micro import converting
from search.exporting.micro.describing import memory_rows, section
from search.exporting.micro.interpreter import MicroInterpreter, try_out
from search.exporting.micro.making import Micro, Reference, write_micro
from search.exporting.micro.parts import take_apart
from search.layers.deskew import Deskew
from search.layers.test_time_augmentation import MeanOfCopies, ShiftedCopies
from space import suggest
from tests.conftest import ROOT
from tests.exporting.micro.test_rewriting import trained

pytestmark = pytest.mark.processes

IMAGES = 24
SqueezeAndExcitation = importlib.import_module("examples.depthwise").SqueezeAndExcitation
Residual = importlib.import_module("examples.residual").Residual
TINY = Costs(parameters=1, macs=1, peak_activation_bytes=4, flash_bytes=1, layers=())
COLOUR = replace(MNIST_PROBLEM, input_shape=(3, 16, 20), mean=(0.4,) * 3, std=(0.2, 0.25, 0.3))


def head(channels: int) -> list[nn.Module]:
    return [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, 10)]


class Joined(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([x, torch.relu(x) - 0.5], 1)


NETWORKS: dict[str, list[nn.Module]] = {
    "deskewing and copies": [
        *(Deskew(), ShiftedCopies(), nn.Conv2d(1, 8, 3, bias=False), nn.MaxPool2d(2)),
        *(nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.Dropout(0.1), *head(8), MeanOfCopies()),
    ],
    "depthwise, strides, groups": [
        *(nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.ReLU6(), nn.Conv2d(8, 8, 3, 2, 1, groups=8)),
        *(nn.Conv2d(8, 16, 1), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=4, dilation=2)),
        *(nn.BatchNorm2d(16), nn.ReLU(), *head(16)),
    ],
    "average pooling, joined maps": [
        *(nn.BatchNorm2d(1), nn.Conv2d(1, 8, 3), nn.AvgPool2d(3, 2, 1), Joined(), *head(16)),
    ],
    "flattened": [
        *(nn.Conv2d(1, 8, 3), nn.LeakyReLU(), nn.MaxPool2d(3, 2, 1), nn.Flatten()),
        nn.Linear(8 * 13 * 13, 10),
    ],
    "squeeze and excitation": [
        *(nn.Conv2d(1, 8, 3), nn.Hardswish(), SqueezeAndExcitation(8, 2), nn.SiLU(), *head(8)),
    ],
}
EXACT = {"deskewing and copies", "depthwise, strides, groups", "flattened"}
EXACT |= {"average pooling, joined maps"}


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


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.usefixtures("packages")
def test_the_c_agrees_with_tensorflow_lite_micro(
    name: str, tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    network = trained(*NETWORKS[name])
    split = images_of(MNIST_PROBLEM, mnist_1200)
    made = written(tmp_path / "micro", network, MNIST_PROBLEM, split)
    assert made.float32.other_classes == 0
    assert made.int8.no_c == made.float32.no_c == ""
    compare(tmp_path / "micro", network, MNIST_PROBLEM, split, exact=name in EXACT)


@pytest.mark.usefixtures("packages")
def test_colour_images_go_through_with_their_channels_side_by_side(
    tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    network = trained(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), *head(8))
    split = images_of(COLOUR, mnist_1200)
    written(tmp_path / "micro", network, COLOUR, split)
    compare(tmp_path / "micro", network, COLOUR, split, exact=True)
    pixels = (tmp_path / "micro" / "images.bin").read_bytes()
    assert pixels == split.images.transpose(0, 2, 3, 1).tobytes()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.usefixtures("packages")
def test_what_the_space_draws_takes_what_its_formulas_say(
    seed: int, tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    """RAM and flash of the C to the byte; the interpreter's activations, rounded up to 16."""
    import optuna

    study = optuna.create_study(sampler=RandomSampler(seed=seed))
    limits = Limits(max_params=3_000, max_ram=20_000, max_flash=9_000)
    candidate = suggest(study.ask(), MNIST_PROBLEM, limits)
    costs, network = candidate.costs(), trained(*candidate.build().children())
    split = images_of(MNIST_PROBLEM, mnist_1200)
    made = written(tmp_path / "micro", network, MNIST_PROBLEM, split)
    peak = costs.peak_activation_bytes
    assert (made.float32.c_ram, made.int8.c_ram) == (peak, peak // 4)
    assert made.int8.c_flash == costs.flash_bytes
    assert 0 <= made.int8.arena.activations - peak // 4 < 32
    assert 0 <= made.float32.arena.activations - peak < 32
    assert made.macs == costs.macs - sum(r.macs for r in costs.layers if r.name == "deskew")
    rows = memory_rows(made, limits, costs)
    assert "(kept)" in rows[1][3] and "(kept)" in rows[2][3]
    over = memory_rows(made, replace(limits, max_flash=99), costs)
    assert "(over the limit)" in over[2][3]
    text = section(made, limits, costs)
    assert f"{made.int8.file_bytes:,} bytes" in text
    assert "estimated, not measured" in text


@pytest.mark.usefixtures("packages")
def test_without_c_the_rest_is_written_and_why_is_said(
    tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    """GroupNorm needs operators that are not written in C here, and GELU is made of others."""
    network = trained(nn.Conv2d(1, 8, 3), Residual(8), *head(8))
    split = images_of(MNIST_PROBLEM, mnist_1200)
    made = written(tmp_path / "micro", network, MNIST_PROBLEM, split)
    assert made.float32.other_classes == 0
    assert made.int8.c_ram is None and "MEAN over axes" in made.int8.no_c
    names = {path.name for path in (tmp_path / "micro").iterdir()}
    assert "model_int8.tflite" in names and "model_int8_data.c" in names
    assert "main.c" not in names
    text = section(made, Limits(), TINY)
    assert "no C of model_int8.tflite: MEAN" in text and "make check" not in text


@pytest.mark.parametrize(
    ("layers", "said"),
    [
        (
            [nn.Conv2d(1, 8, 3, padding=1, padding_mode="circular"), *head(8)],
            r"layer 0 \(Conv2d\) cannot be computed on a microcontroller: .* no operator SELECT",
        ),
        (
            [nn.Conv2d(1, 8, 3), nn.AdaptiveMaxPool2d(2), nn.Flatten(), nn.Linear(32, 10)],
            r"layer 1 \(AdaptiveMaxPool2d\) cannot be computed on a microcontroller: "
            ".*adaptive_max_pool2d",
        ),
        (
            [nn.Conv2d(1, 8, 3), nn.Sequential(nn.ReLU(), nn.LPPool2d(2, 2)), *head(8)],
            r"layer 1\.1 \(LPPool2d\) .* has no operator SIGN",
        ),
    ],
)
@pytest.mark.usefixtures("packages")
def test_what_does_not_go_through_is_named(
    layers: list[nn.Module], said: str, tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    split = images_of(MNIST_PROBLEM, mnist_1200)
    with pytest.raises(UserError, match=said):
        written(tmp_path / "micro", nn.Sequential(*layers), MNIST_PROBLEM, split)


@pytest.mark.usefixtures("packages")
def test_the_array_in_c_is_the_file(
    tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    network = trained(nn.Conv2d(1, 4, 3), nn.ReLU(), *head(4))
    made = written(tmp_path / "micro", network, MNIST_PROBLEM, images_of(MNIST_PROBLEM, mnist_1200))
    text = (tmp_path / "micro" / "model_int8_data.c").read_text()
    found = bytes(int(byte, 16) for byte in re.findall(r"0x(\w\w)", text))
    model = (tmp_path / "micro" / "model_int8.tflite").read_bytes()
    assert found == model
    assert f"= {len(model)};" in text
    assert f"Arena: {made.int8.arena.total:,} bytes" in text
    assert set(made.int8.operators) == {"DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "MEAN"}


class Chunked(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        first, second = x.chunk(2, 1)
        return nn.functional.pad(first + second, (1, 1, 1, 1), mode="circular")


class Plain(nn.Module):
    """As people write it: pooling without keepdim, a linear layer without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 8, 3), nn.Linear(8, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.conv(x))
        return self.last((x + torch.sigmoid(20 * x)).mean((2, 3)))  # type: ignore[no-any-return]


def dead(weight: float) -> nn.Sequential:
    """A network of which BatchNorm leaves next to nothing of a channel but its bias."""
    network = trained(nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), *head(8))
    with torch.no_grad():
        norm = network[1]
        assert isinstance(norm, nn.BatchNorm2d)
        norm.weight[2], norm.bias[2] = weight, 1.0
    return network


@pytest.mark.parametrize(
    "network",
    [
        *(dead(0.0), dead(1e-6), dead(1e-5), Plain()),
        nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 26 * 26, 10)),
        trained(
            *(nn.Conv2d(1, 8, 3), nn.MaxPool2d(2), nn.BatchNorm2d(8), nn.ReLU(), *head(8)),
            negative=True,
        ),
    ],
)
@pytest.mark.usefixtures("packages")
def test_networks_that_are_easily_got_wrong(
    network: nn.Module, tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    split = images_of(MNIST_PROBLEM, mnist_1200)
    made = written(tmp_path / "micro", network, MNIST_PROBLEM, split)
    assert made.acceptable and made.float32.other_classes == 0
    assert made.int8.no_c == ""
    compare(tmp_path / "micro", network, MNIST_PROBLEM, split, exact=not isinstance(network, Plain))
    logits = logits_of(network, MNIST_PROBLEM, split)
    model = (tmp_path / "micro" / "model_int8.tflite").read_bytes()
    taken = take_apart(network, MNIST_PROBLEM).prepared(torch.from_numpy(split.images))
    found = MicroInterpreter(model).predict(taken.permute(0, 2, 3, 1).numpy())
    assert np.abs(found - logits).max() < 0.1 * np.abs(logits).max()


@pytest.mark.usefixtures("packages")
def test_what_the_interpreter_aborts_on_ends_in_one_line() -> None:
    """What is no model at all ends the interpreter's process, and not this one."""
    with pytest.raises(UserError, match="TensorFlow Lite Micro cannot run the network: .*[a-z]"):
        try_out(b"TFL3" * 64)


@pytest.mark.usefixtures("packages")
def test_a_layer_is_found_behind_a_split(
    tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    network = nn.Sequential(Deskew(), nn.Conv2d(1, 8, 3), Chunked(), *head(4))
    split = images_of(MNIST_PROBLEM, mnist_1200)
    with pytest.raises(UserError, match=r"layer 2 \(Chunked\) cannot be computed"):
        written(tmp_path / "micro", network, MNIST_PROBLEM, split)


@pytest.mark.usefixtures("packages")
def test_any_title_leaves_the_c_whole(
    tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    network = trained(nn.Conv2d(1, 4, 3), nn.ReLU(), *head(4))
    split = images_of(MNIST_PROBLEM, mnist_1200)
    title = "c4*/ int x; /* trial 3\nof **/"
    reference = Reference(validation=split, logits=logits_of(network, MNIST_PROBLEM, split))
    write_micro(
        tmp_path / "micro", network, MNIST_PROBLEM, reference, calibration=split.images, title=title
    )
    library(tmp_path / "micro", "model_int8")
    library(tmp_path / "micro", "model_int8_data")


def test_missing_packages_are_said_with_how_to_install_them(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(UserError) as caught:
        converting.require_packages()
    assert "--micro needs packages that are not installed: " in str(caught.value)
    assert "-m pip install -r requirements-micro.txt" in str(caught.value)
    assert capfd.readouterr() == ("", "")


@pytest.mark.usefixtures("packages")
def test_the_command_writes_a_folder_whose_own_check_passes(
    command: list[str], data: Path, tmp_path: Path
) -> None:
    limits = ("--max-params", "3000", "--max-ram", "20000", "--max-flash", "2000")
    more = ("--trials", "2", "--workers", "1", "--epochs", "2", *limits)
    assert subprocess.run([*command, *more], timeout=300).returncode == 0
    export = [sys.executable, str(ROOT / "search/export.py"), "--micro", "--data", str(data)]
    output = tmp_path / "out"
    export += ["--storage", str(tmp_path / "study.db"), "--output", str(output)]
    done = subprocess.run(export, capture_output=True, text=True, timeout=300)
    assert (done.returncode, done.stderr) == (0, "")
    assert "run by TensorFlow Lite Micro on this machine" in done.stdout
    figures = json.loads((output / "figures.json").read_text())
    measured = figures["micro"]
    assert measured["images"] == 200
    assert measured["float32"]["right"] == figures["validation"]["float32"]
    assert measured["int8"]["c_ram"] <= 20_000
    assert figures["sizes"]["files"]["micro/model_int8.tflite"] == measured["int8"]["file_bytes"]
    assert "## On a microcontroller" in (output / "README.md").read_text()
    report = [sys.executable, str(ROOT / "search/report.py")]
    report += ["--storage", str(tmp_path / "study.db"), "--reports", str(tmp_path / "reports")]
    assert subprocess.run(report, capture_output=True, timeout=300).returncode == 0
    markdown = (tmp_path / "reports" / "leaderboard.md").read_text()
    assert "## On a microcontroller" in markdown
    assert f"{measured['int8']['c_flash']:,} (" in markdown
    if shutil.which("make") and shutil.which("cc"):
        made = subprocess.run(["make", "check"], cwd=output / "micro", capture_output=True)
        assert made.returncode == 0, made.stdout + made.stderr
        assert made.stdout.count(b"100 of 100 images") == 2
    again = subprocess.run(
        [part for part in export if part != "--micro"], capture_output=True, text=True, timeout=300
    )
    assert again.returncode == 0, again.stderr
    assert not (output / "micro" / "model_int8.tflite").exists(), "of an earlier export"
    assert "## On a microcontroller" not in (output / "README.md").read_text()
