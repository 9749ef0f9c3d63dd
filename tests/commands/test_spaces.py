"""Spaces that are not ours, from the command line: each example goes all the way."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from search.study.storages.opening import open_study
from tests.conftest import ROOT
from tests.helpers.data.idx_files import write_idx

pytestmark = pytest.mark.processes

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


@pytest.fixture
def folder(tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]) -> Path:
    """With 1,000 images to train on and 200 to test on."""
    images, labels = mnist_1200
    write_idx(tmp_path / "data" / "train-images-idx3-ubyte", images[:1000])
    write_idx(tmp_path / "data" / "train-labels-idx1-ubyte", labels[:1000])
    write_idx(tmp_path / "data" / "t10k-images-idx3-ubyte", images[1000:])
    write_idx(tmp_path / "data" / "t10k-labels-idx1-ubyte", labels[1000:])
    return tmp_path


def call(name: str, folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, str(ROOT / "search" / name)]
    options = [*("--data", str(folder / "data")), "--storage", str(folder / "study.db")]
    if name in ("run.py", "finalists.py"):
        options += ["--reports", str(folder / "reports"), "--device", "cpu", "--workers", "1"]
    return subprocess.run([*line, *more, *options], capture_output=True, text=True, timeout=240)


def search(folder: Path, space: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return call("run.py", folder, "--space", str(space), "--epochs", "2", *more)


@pytest.mark.parametrize("space", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_is_searched_retrained_reproduced_and_exported(
    space: Path, folder: Path
) -> None:
    done = search(folder, space, "--trials", "3", "--pruner", "none")
    assert done.returncode == 0, done.stderr
    study = open_study(str(folder / "study.db"))
    complete = [trial for trial in study.trials if trial.state.name == "COMPLETE"]
    assert complete
    assert study.user_attrs["settings"]["space_file"]["name"] == f"examples/{space.name}"
    for trial in study.trials:
        rows = trial.user_attrs["layers"]
        assert sum(row[2] for row in rows) == trial.user_attrs["parameters"]
        assert sum(row[3] for row in rows) == trial.user_attrs["macs"]
    report = (folder / "reports" / "leaderboard.md").read_text(encoding="utf-8")
    best = max(complete, key=lambda trial: (trial.value, -trial.user_attrs["parameters"]))
    assert best.user_attrs["architecture"] in report
    assert "Conv2d" in report

    tested = call("finalists.py", folder, "--top", "1", "--shortlist", "0", "--seeds", "2")
    assert tested.returncode == 0, tested.stderr
    assert "(2 seeds)" in tested.stdout

    repeated = call("reproduce.py", folder, str(complete[0].number))
    assert repeated.returncode == 0, repeated.stdout + repeated.stderr
    assert "PASS" in repeated.stdout

    left = call("export.py", folder, "--output", str(folder / "out"))
    assert left.returncode == 0, left.stdout + left.stderr
    assert "PASS" in left.stdout
    drawn = json.loads((folder / "out" / "candidate.json").read_text())
    assert drawn["space"]["file"] == f"examples/{space.name}"
    handed_in = ("--candidate", str(folder / "out" / "candidate.json"), "--pruner", "none")
    again = search(folder, space, *handed_in)
    assert again.returncode == 0, again.stderr


def test_the_readme_shows_the_example_as_it_is() -> None:
    example = (ROOT / "examples" / "residual.py").read_text(encoding="utf-8")
    assert example in (ROOT / "README.md").read_text(encoding="utf-8")
    assert example.count("\n") == 30


def test_a_candidate_over_the_limit_is_pruned_before_it_is_trained(folder: Path) -> None:
    done = search(folder, EXAMPLES[0], "--trials", "4", "--max-params", "1500")
    assert done.returncode == 0, done.stderr
    over = [t for t in open_study(str(folder / "study.db")).trials if t.user_attrs["over_budget"]]
    assert over
    assert all("seed" not in trial.user_attrs for trial in over), "none of them was begun"
    assert all(trial.user_attrs["parameters"] > 1_500 for trial in over)


def test_a_study_knows_its_space_and_refuses_another(folder: Path) -> None:
    mine = folder / "mine.py"
    shutil.copy(ROOT / "examples" / "residual.py", mine)
    assert search(folder, mine, "--trials", "1").returncode == 0
    mine.write_text(mine.read_text() + "# edited\n")
    again = search(folder, mine, "--trials", "2")
    assert again.returncode == 2
    assert "space_file.digest" in again.stderr + again.stdout
    finalists = call("finalists.py", folder, "--top", "1", "--shortlist", "0", "--seeds", "1")
    assert finalists.returncode == 2
    assert "was drawn from the space" in finalists.stderr and "--space" in finalists.stderr
    assert finalists.stderr.count("\n") == 1
    (folder / "as-it-was.py").write_text(mine.read_text().replace("# edited\n", ""))
    there = ("--space", str(folder / "as-it-was.py"))
    given = call("reproduce.py", folder, "0", *there)
    assert given.returncode == 0, given.stderr


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("import nothing_like_this", "mine.py:1: ModuleNotFoundError"),
        ("def suggest(trial, problem, limits):\n    return 1", "mine.py:1: suggest returned 1"),
        ("x = 1", "has no function suggest"),
    ],
)
def test_a_broken_space_is_one_line_and_leaves_no_study(
    folder: Path, source: str, said: str
) -> None:
    mine = folder / "mine.py"
    mine.write_text(source)
    done = search(folder, mine, "--trials", "1")
    assert done.returncode == 2
    assert said in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (folder / "study.db").exists()


def test_a_trial_whose_space_raises_fails_alone_with_its_line(folder: Path) -> None:
    mine = folder / "mine.py"
    text = (ROOT / "examples" / "residual.py").read_text()
    raising = (
        "    if trial.number == 1:\n        raise ValueError('not this one')\n    width = trial"
    )
    mine.write_text(text.replace("    width = trial", raising))
    done = search(folder, mine, "--trials", "2")
    assert done.returncode == 0, done.stderr
    failed = [t for t in open_study(str(folder / "study.db")).trials if t.state.name == "FAIL"]
    assert len(failed) == 1
    assert "mine.py:21: ValueError: not this one" in failed[0].user_attrs["reason"]


def test_a_space_that_draws_from_elsewhere_is_found_out(folder: Path) -> None:
    """What was counted is what is trained, or the trial says so."""
    mine = folder / "mine.py"
    text = (ROOT / "examples" / "residual.py").read_text()
    here = "__import__('multiprocessing').parent_process() is None"
    mine.write_text(
        text.replace("(width, problem.classes)", f"(width, problem.classes, bias={here})")
    )
    search(folder, mine, "--trials", "1")
    failed = [t for t in open_study(str(folder / "study.db")).trials if t.state.name == "FAIL"]
    assert failed
    assert all("must follow from the trial alone" in t.user_attrs["reason"] for t in failed)
