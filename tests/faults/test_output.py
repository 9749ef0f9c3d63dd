"""Output that cannot be written or encoded ends no work, whoever runs the commands."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.helpers.commands import ROOT, load

pytestmark = pytest.mark.processes


def shell(line: str, tmp_path: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", "-c", f"{line}; echo ended ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=240,
        env={**os.environ, **variables},
    )


def test_a_search_whose_output_nobody_can_read_goes_on_to_its_end(
    command: list[str], tmp_path: Path
) -> None:
    """The lines hold letters that ASCII lacks, and their reader goes after the second."""
    line = shlex.join([*command, "--trials", "2", "--workers", "1", "--epochs", "1"])
    done = shell(f"{line} 2>/dev/full | head -2", tmp_path, PYTHONIOENCODING="ascii")
    assert re.search(r"trial 0 \\xb7 [0-9.]+ % \\xb7 ", done.stdout)
    assert done.stdout.endswith("ended 0\n")
    assert done.stderr == ""
    assert [trial.state.name for trial in load(tmp_path).trials] == ["COMPLETE"] * 2
    assert (tmp_path / "reports" / "leaderboard.html").exists()
    report = [command[0], str(ROOT / "search/report.py"), "--storage", str(tmp_path / "study.db")]
    done = shell(f"{shlex.join(report)} --reports elsewhere >&- 2>&-", tmp_path)
    assert (done.stdout, done.stderr) == ("ended 0\n", "")
    assert (tmp_path / "elsewhere" / "leaderboard.html").exists()


@pytest.mark.parametrize("to", [">/dev/full 2>/dev/full", ">&- 2>&- <&-"])
def test_an_error_that_cannot_be_said_has_its_exit_code(
    command: list[str], tmp_path: Path, to: str
) -> None:
    line = f"{shlex.join([*command, '--trials', '0'])} {to}"
    assert shell(line, tmp_path).stdout == "ended 2\n"
