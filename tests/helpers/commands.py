"""Commands run as a user runs them, and the study that they leave."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import optuna

from search.common.errors import UserError
from search.study.storages.opening import open_study

ROOT = Path(__file__).parents[2]


def run(
    command: list[str], *more: str, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*command, *more], capture_output=True, text=True, timeout=240, cwd=cwd or ROOT
    )


def load(tmp_path: Path) -> optuna.Study:
    return open_study(str(tmp_path / "study.db"), "cnn-search")


def trials_so_far(tmp_path: Path) -> list[optuna.trial.FrozenTrial]:
    """A study's trials, none while it is not there yet."""
    try:
        return load(tmp_path).trials
    except UserError:
        return []


def wait_until(done: Callable[[], bool], process: subprocess.Popen[str] | None = None) -> None:
    deadline = time.monotonic() + 90
    while not done():
        assert process is None or process.poll() is None, process and process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
