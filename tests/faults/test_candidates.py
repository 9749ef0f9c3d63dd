"""Bad candidates and a user's own space: the trial fails with its reason, the run goes on."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from optuna.trial import TrialState

from search.study.storages.opening import open_study
from tests.conftest import LAYERED
from tests.faults.processes import trials

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]


@pytest.fixture
def plain(tmp_path: Path) -> dict[str, str]:
    """An environment without numba: a copy of the project would compile all its kernels anew."""
    folder = tmp_path / "without"
    folder.mkdir()
    (folder / "numba.py").write_text("raise ImportError('not for this test')\n")
    return {**os.environ, "PYTHONPATH": str(folder)}


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the project, as a user has it who edits ``space.py``."""
    copy = tmp_path / "project"
    copy.mkdir()
    shutil.copy(LAYERED, copy / "space.py")
    shutil.copy(ROOT / "objective.py", copy)
    shutil.copytree(ROOT / "search", copy / "search", ignore=shutil.ignore_patterns("__pycache__"))
    return copy


def search(
    project: Path, data: Path, tmp_path: Path, plain: dict[str, str], *more: str
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [
            *(sys.executable, str(project / "search/run.py"), "--data", str(data), "--epochs", "1"),
            *("--storage", str(tmp_path / "study.db"), "--reports", str(tmp_path / "reports")),
            *("--device", "cpu", "--workers", "1", *more),
        ],
        capture_output=True,
        text=True,
        timeout=240,
        env=plain,
    )


def edit(project: Path, end: str, file: str = "space.py") -> None:
    """Append to the user's space, or another file; a later definition wins."""
    with (project / file).open("a") as opened:
        opened.write(end)


BUILDING = "search/architecture/building.py"


def test_some_bad_candidates_do_not_stop_a_search(
    project: Path, data: Path, tmp_path: Path, plain: dict[str, str]
) -> None:
    edit(
        project,
        """

from dataclasses import replace

from search.architecture.layers import Pool

_suggest = suggest


def suggest(trial, problem, limits):
    candidate = _suggest(trial, problem, limits)
    kind = trial.number % 5
    if kind == 1:
        raise KeyError("<b>mine</b>")
    if kind == 2:
        return LayeredCandidate(layers=(Pool(),) * 6)
    if kind == 3:
        wide = replace(candidate.recipe, batch_size=60_000)
        layers = (Conv(width=2000), Conv(width=9, kernel=1, bias=True))
        return LayeredCandidate(layers=layers, recipe=wide)
    return candidate
""",
    )
    edit(
        project,
        """

from search.architecture.layers import Conv

_build = build


def build(candidate):
    if any(isinstance(layer, Conv) and layer.width == 2000 for layer in candidate.layers):
        import torch

        torch.empty(1 << 50)
    return _build(candidate)
""",
        BUILDING,
    )
    done = search(project, data, tmp_path, plain, "--trials", "4", "--max-params", "60000")
    assert done.returncode == 0, done.stderr
    found = trials(tmp_path / "study.db")
    assert sum(trial.state == TrialState.COMPLETE for trial in found) == 4
    failed = {t.number % 5: t for t in found if t.state == TrialState.FAIL}
    assert "mine" in failed[1].user_attrs["reason"]
    assert "KeyError" in failed[1].user_attrs["traceback"]
    assert "vanishes" in failed[2].user_attrs["reason"]
    assert "memory" in failed[3].user_attrs["reason"].lower()
    page = (tmp_path / "reports/leaderboard.html").read_text()
    assert "<b>mine</b>" not in page


def test_a_space_that_always_fails_stops_with_a_summary(
    project: Path, data: Path, tmp_path: Path, plain: dict[str, str]
) -> None:
    raises = "\n\ndef build(candidate):\n    raise RuntimeError('no such layer')\n"
    edit(project, raises, BUILDING)
    done = search(project, data, tmp_path, plain, "--trials", "20", "--seed", "3")
    assert done.returncode == 1
    assert "5 trials failed in a row, the last: failed: no such layer" in done.stderr
    states = [trial.state for trial in trials(tmp_path / "study.db")]
    assert states.count(TrialState.FAIL) == 5
    assert set(states) == {TrialState.FAIL, TrialState.PRUNED}, "some were over the limit"
    study = open_study(str(tmp_path / "study.db"))
    notes = study.storage.get_study_system_attrs(study.storage.get_study_id_from_name("cnn-search"))
    assert any("no such layer" in str(value) for value in notes.values())


def test_another_space_on_resuming_is_named_and_refused(
    project: Path, data: Path, tmp_path: Path, plain: dict[str, str]
) -> None:
    assert search(project, data, tmp_path, plain, "--trials", "1").returncode == 0
    text = (project / "space.py").read_text()
    wider, changes = re.subn(r'"dropout", .*\)$', '"dropout", 0.0, 0.6)', text, flags=re.M)
    assert changes == 1
    (project / "space.py").write_text(wider)
    done = search(project, data, tmp_path, plain, "--trials", "2")
    assert done.returncode == 2
    assert "space.dropout" in done.stderr
    assert "space_file.digest" in done.stderr
