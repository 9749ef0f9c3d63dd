"""A trial is rebuilt from what the study holds."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.commands import ROOT, load, run

pytestmark = pytest.mark.processes


def reproduce(tmp_path: Path, data: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, str(ROOT / "search/reproduce.py"), "--data", str(data)),
            *("--storage", str(tmp_path / "study.db"), *more),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def searched(command: list[str], tmp_path: Path) -> Path:
    done = run(command, "--trials", "3", "--workers", "2", "--epochs", "3", "--sampler", "tpe")
    assert done.returncode == 0, done.stderr
    return tmp_path


def test_a_trial_is_repeated_to_the_last_bit_and_a_change_is_seen(
    command: list[str], searched: Path, data: Path
) -> None:
    """Under its own settings, whatever the study went on with."""
    more = ("--trials", "4", "--epochs", "4", "--continue-anyway", "--workers", "1")
    assert run(command, *more, "--sampler", "tpe").returncode == 0
    done = reproduce(searched, data, "2")
    assert done.returncode == 0, done.stdout + done.stderr
    value = load(searched).trials[2].value
    assert f"PASS: trial 2, 3 epochs, {value:.4f}" in done.stdout
    with sqlite3.connect(searched / "study.db") as connection:
        connection.execute(
            "UPDATE trial_intermediate_values SET intermediate_value = 0.5 "
            "WHERE step = 2 AND trial_id = 3"
        )
    changed = reproduce(searched, data, "2")
    assert changed.returncode == 1
    assert "FAIL: trial 2, epoch 2: recorded 0.5000" in changed.stdout
    missing = reproduce(searched, data, "9")
    assert missing.returncode == 2
    assert missing.stderr == "error: the study has no trial 9. Its trials are 0 to 3.\n"
