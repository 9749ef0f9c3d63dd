"""The export command, on a study that was searched for real."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.study.storages.opening import create_study, open_study
from tests.conftest import ROOT
from tests.helpers.commands import run

pytestmark = pytest.mark.processes

FILES = {
    *("README.md", "candidate.json", "figures.json", "model.onnx", "model.py"),
    *("model_int8.onnx", "weights.safetensors"),
}


@pytest.fixture
def searched(command: list[str], tmp_path: Path) -> Path:
    done = run(command, "--trials", "3", "--workers", "1", "--max-params", "9000")
    assert done.returncode == 0, done.stderr
    return tmp_path


def export(folder: Path, data: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "search/export.py"), "--data", str(data)]
    return subprocess.run(
        [*command, "--storage", str(folder / "study.db"), *more],
        capture_output=True,
        text=True,
        timeout=240,
    )


def test_the_winner_leaves_with_its_recorded_accuracy_kept_or_trained_again(
    searched: Path, data: Path
) -> None:
    study = open_study(str(searched / "study.db"))
    complete = [t for t in study.trials if t.state.name == "COMPLETE"]
    best = max(complete, key=lambda t: (t.values[0], -t.user_attrs["parameters"], -t.number))
    assert len(list((searched / "study.db.weights").iterdir())) == len(complete)

    done = export(searched, data, "--output", str(searched / "out"))
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert f"trial {best.number} of cnn-search: " in done.stdout
    assert "PASS: the loaded network is right exactly as often as recorded" in done.stdout
    assert "largest difference of a logit between torch and onnxruntime" in done.stdout
    assert {file.name for file in (searched / "out").iterdir()} == FILES
    figures = json.loads((searched / "out" / "figures.json").read_text())
    measured = figures["validation"]
    assert measured["images"] == 200
    assert measured["recorded"] == measured["float32"] == round(200 * best.values[0])
    assert measured["float32"] == measured["onnx"]
    assert figures["sizes"]["parameters"] == best.user_attrs["parameters"]
    card = (searched / "out" / "README.md").read_text()
    assert best.user_attrs["architecture"] in card
    assert f"{best.user_attrs['parameters']:,} parameters" in card
    assert (searched / "out" / "candidate.json").read_text().strip() == best.user_attrs["candidate"]

    shutil.rmtree(searched / "study.db.weights")
    again = export(searched, data, "--trial", str(best.number), "--output", str(searched / "b"))
    assert again.returncode == 0, again.stdout + again.stderr
    assert "were not kept: training it again from its seed" in again.stdout
    weights = [(searched / name / "weights.safetensors").read_bytes() for name in ("out", "b")]
    assert weights[0] == weights[1]
    assert "trained again from its seed" in (searched / "b" / "README.md").read_text()


def test_what_cannot_be_exported_is_said_in_one_line(tmp_path: Path, data: Path) -> None:
    study = create_study(str(tmp_path / "study.db"), "cnn-search")
    for state in (TrialState.PRUNED, TrialState.FAIL):
        attributes = {"seed": 1, "candidate": "{}", "reason": "over budget"}
        study.add_trial(
            optuna.trial.create_trial(
                state=state, user_attrs=attributes, intermediate_values={1: 0.5}
            )
        )
    for arguments, message in (
        (["--rank", "2"], "the leaderboard holds 0 architectures, but rank 2 was asked for"),
        (["--trial", "9"], "the study has no trial 9"),
        (["--trial", "0"], "trial 0 is not complete (over budget)"),
        (["--output", __file__], "nothing can be written to"),
    ):
        done = export(tmp_path, data, *arguments)
        assert done.returncode == 2, done.stdout
        assert done.stdout == ""
        assert message in done.stderr
        assert done.stderr.count("\n") == 1


def test_searching_never_imports_what_only_the_export_needs() -> None:
    program = (
        "import sys; sys.argv = ['run.py']\n"
        "import search.run, search.workers.coordinator, search.workers.training, objective, space\n"
        "import search.training.loop, search.study.weights, search.report\n"
        "print([name for name in ('onnx', 'onnxruntime', 'onnxscript', 'safetensors')"
        " if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60
    )
    assert done.stdout == "[]\n", done.stderr
