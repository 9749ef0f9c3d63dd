"""The check of a GPU, rehearsed on a CPU with few images; where there is none it says so."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from tests.helpers.data.idx_files import write_idx

pytestmark = pytest.mark.processes

CHECK = Path(__file__).parents[2] / "benchmarks" / "gpu_check.py"


def test_every_step_is_run_and_written_down(
    tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    images, labels = mnist_1200
    for name, part in (("train", slice(1000)), ("t10k", slice(1000, None))):
        write_idx(tmp_path / f"{name}-images-idx3-ubyte", images[part])
        write_idx(tmp_path / f"{name}-labels-idx1-ubyte", labels[part])
    table = tmp_path / "table.md"
    done = subprocess.run(
        [
            *(sys.executable, str(CHECK), "--device", "cpu", "--data", str(tmp_path)),
            *("--images", "400", "--out", str(table)),
        ],
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    written = table.read_text()
    assert "| rehearsal | on a CPU: no figure of a GPU |" in written
    for what in (
        *("tests marked gpu", "search of 12 trials", "killed after", "5 seeds of a finalist"),
        *("export", "plain idiom", "10 seeds as one network", "kernels a step, one network"),
    ):
        assert what in written
    assert re.search(r"[12] trials? from where it was", written)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_without_a_device_it_says_so() -> None:
    done = subprocess.run([sys.executable, str(CHECK)], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: there is no CUDA device. Rehearse with --device cpu.\n"
