"""The instructions of an export's C on emulated cores."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from torch import nn

from benchmarks.hardware import emulated
from search.data.problem import MNIST_PROBLEM
from tests.conftest import ROOT

pytestmark = pytest.mark.processes
SCRIPT = ROOT / "benchmarks/hardware/emulated.py"


def test_a_folder_without_c_is_said_in_a_line(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize("core", emulated.CORES)
def test_both_cores_give_the_label_and_count_the_work(core: str, tmp_path: Path) -> None:
    missing = [name for name in emulated.PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    pytest.importorskip("litert_torch")
    from search.data.dataset import Split
    from tests.helpers.micro import head, trained, written

    network = trained(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.MaxPool2d(2), *head(8))
    chance = np.random.default_rng(0)
    images = chance.integers(0, 256, (24, 1, 28, 28), dtype=np.uint8)
    split = Split(images=images, labels=np.zeros(24, dtype=np.int64))
    made = written(tmp_path / "micro", network, MNIST_PROBLEM, split)
    expected = int((tmp_path / "micro" / "labels_int8.txt").read_text().split()[0])
    label, instructions, sizes = emulated.measure(tmp_path / "micro", "int8", core, "-O3")
    assert label == expected
    assert 2 < instructions / made.macs < 20
    assert sizes[".bss"] == made.int8.c_ram
    assert 0 <= sizes[".rodata"] - (made.int8.c_flash or 0) < 400
