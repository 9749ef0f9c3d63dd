"""Fixtures that several tests share."""

from __future__ import annotations

import multiprocessing.process
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import pytest
import torch

from search.data.sources import locate
from tests.helpers.data.idx_files import write_idx

ROOT = Path(__file__).parents[1]
FIXTURE = ROOT / "tests" / "data" / "mnist_1200.npz"
LAYERED = ROOT / "tests" / "helpers" / "layered_space.py"


@pytest.fixture(autouse=True)
def _no_process_without_its_mark(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`make check` runs the tests without the mark ``processes``: they start none."""
    if request.node.get_closest_marker("processes"):
        return

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a test that starts a process is to be marked with `processes`")

    monkeypatch.setattr(subprocess.Popen, "__init__", refuse)
    monkeypatch.setattr(multiprocessing.process.BaseProcess, "start", refuse)


@pytest.fixture(autouse=True)
def _one_thread() -> None:
    """As in a worker: results are then the same in every run."""
    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _quiet_optuna() -> Iterator[None]:
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield


@pytest.fixture(scope="session")
def mnist_1200() -> tuple[np.ndarray, np.ndarray]:
    """The first 1,200 training images of MNIST and their labels, as they are in its file."""
    with np.load(FIXTURE) as arrays:
        return arrays["images"], arrays["labels"]


@pytest.fixture(scope="session")
def data(
    tmp_path_factory: pytest.TempPathFactory, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> Path:
    """A directory with 1,200 images of MNIST as IDX training files."""
    folder = tmp_path_factory.mktemp("data")
    write_idx(folder / "train-images-idx3-ubyte", mnist_1200[0])
    write_idx(folder / "train-labels-idx1-ubyte", mnist_1200[1])
    locate(folder, say=lambda _: None)  # decoded now: what a test's command prints is its own
    return folder


@pytest.fixture
def command(tmp_path: Path, data: Path) -> list[str]:
    """A search in the tests' own space: ``space.py`` is the user's, who may put another there."""
    return [
        *(sys.executable, str(ROOT / "search/run.py"), "--data", str(data)),
        *("--storage", str(tmp_path / "study.db"), "--reports", str(tmp_path / "reports")),
        *("--space", str(LAYERED), "--epochs", "2", "--device", "cpu"),
    ]
