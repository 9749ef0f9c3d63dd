"""Fixtures that several tests share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch

FIXTURE = Path(__file__).parent / "data" / "mnist_1200.npz"


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
