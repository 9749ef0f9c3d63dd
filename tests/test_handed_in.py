"""Candidates handed in: refused in words or trained as the search's own, once, and never lost."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial, TrialState

from search import handed_in
from search.engine.errors import UserError
from search.engine.recipe import Recipe
from search.engine.storage import open_study
from search.references import REFERENCES
from space import Candidate, Conv, Pool
from tests.faults.processes import kill_group, start, wait_for
from tests.test_run import load, run

TINY = Candidate(layers=(Conv(width=2), Pool(), Conv(width=3)), recipe=Recipe(batch_size=256))
BESIDE = "cnn-search candidates"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.json"
    path.write_text(TINY.to_json())
    return path


def beside(tmp_path: Path) -> list[FrozenTrial]:
    try:
        return open_study(str(tmp_path / "study.db"), BESIDE).get_trials(deepcopy=False)
    except UserError:
        return []


def test_a_file_is_read_and_references_come_with_their_names(file: Path) -> None:
    found = handed_in.read_all([file, file], references=True)
    assert [item.label for item in found] == [
        *(f"reference: {key}" for key in REFERENCES),
        "handed in: tiny",
    ]
    assert found[-1].candidate == TINY
    assert handed_in.read_all([], references=False) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "holds no candidate: Expecting property name"),
        ("[]", 'holds no candidate: a candidate is an object with a list "layers"'),
        ('{"layers": [{"op": "cov"}]}', "'cov'"),
        ('{"layers": [{"op": "conv", "width": "8"}]}', "conv.width must be int, but got '8'"),
        ('{"layers": [{"op": "conv"}]}', "missing"),
        (json.dumps({"layers": [{"op": "pool"}] * 9}), "the feature map vanishes"),
        ("[" * 100_000, "holds no candidate"),
        ("\x00", "holds no candidate"),
    ],
)
def test_a_file_without_a_candidate_is_refused_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        handed_in.read_all([path], references=True)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_file_and_a_binary_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        handed_in.read(tmp_path / "none.json")
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="holds no candidate"):
        handed_in.read(tmp_path / "x")


def test_they_are_trained_once_shown_and_unseen_by_the_sampler(
    command: list[str], tmp_path: Path, file: Path
) -> None:
    bad = tmp_path / "bad.json"
    bad.write_text("{}")
    refused = run(command, "--candidate", str(file), str(bad))
    assert refused.returncode == 2
    assert refused.stderr.count("\n") == 1
    assert not (tmp_path / "study.db").exists()

    larger = tmp_path / "larger.json"
    larger.write_text(Candidate(layers=(Conv(width=500),)).to_json())
    more = ("--candidate", str(file), str(larger), "--max-params", "1000", "--workers", "1")
    done = run(command, *more)
    assert done.returncode == 0, done.stderr
    trained, rejected = beside(tmp_path)
    assert trained.state == TrialState.COMPLETE
    assert trained.user_attrs["candidate"] == TINY.to_json()
    assert list(trained.intermediate_values) == [1, 2]
    assert rejected.state == TrialState.PRUNED
    assert rejected.user_attrs["reason"] == "over budget: 10,510 parameters > 1,000"
    assert f"handed in: tiny: {100 * trained.values[0]:.2f} % with 122 parameters" in done.stdout
    assert "handed in: larger: over budget: 10,510 parameters > 1,000" in done.stdout
    report = (tmp_path / "reports" / "leaderboard.md").read_text()
    assert "h0 (handed in: tiny)" in report
    assert "10,510" in report
    search = load(tmp_path).get_trials()
    assert [trial.state for trial in search] == [TrialState.WAITING]  # its own first trial

    again = run(command, *more)
    assert again.returncode == 0, again.stderr
    assert "handed in: tiny: " in again.stdout
    assert len(beside(tmp_path)) == 2


def test_one_that_was_cut_is_trained_to_its_end_by_the_next_command(
    command: list[str], tmp_path: Path, file: Path
) -> None:
    arguments = ("--candidate", str(file), "--workers", "1", "--epochs", "300")
    process = start(command, *arguments)
    wait_for(lambda: any(len(trial.intermediate_values) > 2 for trial in beside(tmp_path)), process)
    kill_group(process)
    done = run(command, *arguments)
    assert done.returncode == 0, done.stderr
    cut, ended = beside(tmp_path)
    assert cut.user_attrs["retried"] is True
    assert ended.state == TrialState.COMPLETE
    assert ended.user_attrs["candidate"] == TINY.to_json()
    assert ended.user_attrs["resumed_after_epoch"] >= 2
    assert ended.user_attrs["label"] == "handed in: tiny"
