"""The commands on images that are not MNIST's, and with another space than ours."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.common.errors import UserError
from search.data.sources import locate
from search.finals.user_candidates import check_fit, read_all
from search.run import parse
from space import Candidate, Conv, Head
from tests.commands.test_run import load, run
from tests.conftest import ROOT

# What space.py's docstring asks for, as it was before `suggest` was told of classes
SPACE = """
import json
from dataclasses import asdict, dataclass
from search.training.recipe import Recipe

@dataclass(frozen=True, kw_only=True)
class Row:
    name: str
    output_shape: tuple
    parameters: int
    macs: int

@dataclass(frozen=True, kw_only=True)
class Candidate:
    width: int

    @property
    def recipe(self):
        return Recipe()

    def to_json(self):
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text):
        return cls(**json.loads(text))

    def one_line(self):
        return f"mlp {self.width}"

def suggest(trial, *, max_params, max_macs):
    return Candidate(width=trial.suggest_int("width", 1, 8))

def layer_table(candidate):
    hidden = Row(name="in", output_shape=(candidate.width,), parameters=785 * candidate.width,
                 macs=784 * candidate.width)
    return [hidden, Row(name="out", output_shape=(10,), parameters=10 * (candidate.width + 1),
                        macs=10 * candidate.width)]

def count_parameters(candidate):
    return sum(row.parameters for row in layer_table(candidate))

def count_macs(candidate):
    return sum(row.macs for row in layer_table(candidate))

def peak_activation_bytes(candidate, bytes_per_value=4):
    return 800 * bytes_per_value

def build(candidate):
    from torch import nn
    return nn.Sequential(nn.Flatten(), nn.Linear(784, candidate.width), nn.ReLU(),
                         nn.Linear(candidate.width, 10))
"""


@pytest.mark.parametrize("text", ["nan", "inf", "99,4", "0.994", "0", "-1", "101", "x", ""])
def test_a_target_is_a_percentage(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([f"--target={text}"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_target_is_kept_as_the_share_that_it_is() -> None:
    given = [parse(["--target", text]).target for text in ("99.4", "100")]
    assert [float(target / 100) for target in given] == [0.994, 1.0]
    assert list(map(str, given)) == ["99.4", "100"], "a hint says it as it was given"
    assert parse([]).target is None


def test_what_does_not_fit_the_data_is_refused(tmp_path: Path, data: Path) -> None:
    source = locate(data)
    misfit = tmp_path / "misfit.json"
    misfit.write_text(Candidate(layers=(Conv(width=2),), head=Head(classes=3)).to_json())
    for handed_in, said in (
        (read_all([], references=True), f"claims are for MNIST, not for {source.name}"),
        (read_all([misfit], references=False), f"3 outputs, but {source.name} has 10 classes"),
    ):
        with pytest.raises(UserError, match=said):
            check_fit(handed_in, source)


def test_a_target_is_remembered_and_small_networks_are_not_deskewed(
    command: list[str], tmp_path: Path
) -> None:
    small = ("--trials", "1", "--epochs", "1", "--workers", "1", "--max-params", "900")
    assert run(command, *small, "--target", "75").returncode == 0
    settings = load(tmp_path).user_attrs["settings"]
    assert (settings["target"], settings["dataset"]["classes"]) == (0.75, 10)
    assert "deskew" not in load(tmp_path).trials[0].user_attrs["architecture"]
    report = (tmp_path / "reports" / "leaderboard.md").read_text(encoding="utf-8")
    assert "≥ 75 %" in report and "99.4" not in report
    other = run(command, *small)
    assert other.returncode == 2
    assert "target" in other.stderr and "0.75" in other.stderr


WITH_IT = """
import sys
from pathlib import Path
import optuna
from objective import Objective, Settings
from search import report
from search.finals import studies as finals
from search.finals import user_candidates as handed_in
from search.study import settings as study_settings
from search.training.arithmetic import Arithmetic
from search.common.errors import UserError
from search.data.sources import locate
from search.reporting.records import read_limits
settings = Settings(source=locate(Path(sys.argv[1])), epochs=1, arithmetic=Arithmetic(fused=False))
study = optuna.create_study(direction="maximize")
study.set_user_attr("settings", study_settings.describe(settings, sampler="tpe", pruner="none"))
study.enqueue_trial(study_settings.simplest_start(20_000, settings.problem))
study.optimize(Objective(settings), n_trials=2)
report.write_reports(study, Path(sys.argv[2]))
limits = read_limits(study.user_attrs["settings"])
print(len(finals.distinct(study.trials, 9, limits)))
try:
    handed_in.read_all([], references=True)
except UserError as error:
    print(error)
"""


def test_a_space_of_other_layers_needs_no_more_than_its_docstring_says(
    tmp_path: Path, data: Path
) -> None:
    (tmp_path / "space.py").write_text(SPACE)
    done = subprocess.run(
        [sys.executable, "-c", WITH_IT, str(data), str(tmp_path / "reports")],
        cwd=tmp_path,  # where Python looks for modules first
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] in ("1", "2")
    assert "made of layers that this space.py does not have" in done.stdout
    assert "mlp" in (tmp_path / "reports" / "leaderboard.csv").read_text(encoding="utf-8")
