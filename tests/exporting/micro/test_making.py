"""The files for a microcontroller: what is written, how large it is, and what cannot be written."""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from optuna.samplers import RandomSampler
from torch import Tensor, nn

from search.architecture.limits import Limits
from search.candidates.costs import Costs
from search.common.errors import UserError
from search.data.problem import MNIST_PROBLEM
from search.exporting.micro import converting
from search.exporting.micro.describing import memory_rows, section
from search.exporting.micro.interpreter import try_out
from search.exporting.micro.making import Reference, write_micro
from search.layers.deskew import Deskew
from space import suggest
from tests.conftest import ROOT
from tests.helpers.micro import head, images_of, library, logits_of, trained, written

pytestmark = pytest.mark.processes

Residual = importlib.import_module("examples.residual").Residual
TINY = Costs(parameters=1, macs=1, peak_activation_bytes=4, flash_bytes=1, layers=())


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
