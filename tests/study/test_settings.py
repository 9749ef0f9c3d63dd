"""Which commit of the program a trial records."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from search.study.settings import commit

pytestmark = pytest.mark.processes


def test_changes_of_the_program_are_told_and_those_of_kept_results_are_not(tmp_path: Path) -> None:
    def git(*words: str) -> str:
        who = ("-c", "user.name=a", "-c", "user.email=a@example.org")
        done = subprocess.run(
            ["git", "-C", str(tmp_path), *who, *words], capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert commit(tmp_path) == "unknown"
    git("init", "-q")
    for name in ("space.py", "reports/reference/study.db"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("first")
    git("add", "-A")
    git("commit", "-q", "-m", "first")
    clean = git("rev-parse", "--short=12", "HEAD")
    assert commit(tmp_path) == clean
    (tmp_path / "reports/reference/study.db").write_text("goes on")
    (tmp_path / "mine.db").write_text("not tracked")
    assert commit(tmp_path) == clean
    (tmp_path / "space.py").write_text("changed")
    assert commit(tmp_path) == f"{clean}-dirty"
    git("add", "-A")
    assert commit(tmp_path) == f"{clean}-dirty"
