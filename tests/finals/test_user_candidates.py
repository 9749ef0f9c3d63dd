"""Candidates of users: refused in words or trained as the search's own, once, and never lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from objective import Limits
from search.architecture.candidate import DEEPEST, LayeredCandidate
from search.architecture.counting import count_macs
from search.architecture.layers import WIDEST, Conv, Head, Pool
from search.architecture.references import REFERENCES
from search.common.errors import UserError
from search.finals import user_candidates
from search.study.storages.opening import open_study
from search.training.recipe import Recipe
from tests.faults.processes import kill_group, start, wait_for
from tests.helpers.commands import load, run
from tests.helpers.draws import gate

TINY = LayeredCandidate(
    layers=(Conv(width=2), Pool(), Conv(width=3)), recipe=Recipe(batch_size=256)
)
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
    found = user_candidates.read_all([file, file], references=True)
    assert [item.label for item in found] == [
        *(f"reference: {key}" for key in REFERENCES),
        "user candidate: tiny",
    ]
    assert found[-1].text == TINY.to_json()
    assert user_candidates.read_all([], references=False) == []


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
        ('{"layers": [{"op": "pool"}, {"op": "pool", "op": "pool"}]}', "'op' is there twice"),
        ('{"layers": [], "recipe": {"learning_rate": NaN}}', "NaN is not a number of JSON"),
        ('{"layers": [], "recipe": {"learning_rate": -Infinity}}', "-Infinity is not a number"),
        ('{"layers": [], "recipe": {"learning_rate": 1e999}}', "learning_rate must lie in"),
        (f'{{"layers": [], "recipe": {{"learning_rate": 1{"0" * 290}}}}}', "must lie in"),
        (f'{{"layers": [], "recipe": {{"learning_rate": 1{"0" * 400}}}}}', "401 digits"),
        (f'{{"layers": [], "recipe": {{"batch_size": 1{"0" * 9000}}}}}', "9,001 digits"),
        (f'{{"layers": [], "recipe": {{"milestones": [1{"0" * 200}]}}}}', "milestones must lie in"),
        (f'{{"layers": [{{"op": "conv", "width": 1{"0" * 30}}}]}}', "must lie in 1..4096"),
        (f'{{"layers": [{{"op": "conv", "width": 1{"0" * 400}}}]}}', "too long"),
        ('{"layers": [{"op": "conv", "width": -1}]}', "must lie in 1..4096"),
        (f'{{"layers": [], "head": {{"kernel": {"9" * 200}}}}}', "but got 999"),
        (f'{{"layers": [], "head": {{"kind": "{"x" * 9000}"}}}}', "but got 'xxx"),
        (f'{{"{"x" * 9000}": 1, "layers": []}}', "has no field 'xxx"),
        (json.dumps({"layers": [{"op": "dropout", "rate": 0.1}] * 3_000}), "at most 256 layers"),
        ('{"layers": ["' + "\n" * 500_001 + '"]}', "holds no candidate"),
        (" " * 1_000_001 + "{}", "longer than 1,000,000 bytes"),
    ],
)
def test_a_file_without_a_candidate_is_refused_in_one_line(
    tmp_path: Path, text: str, message: str
) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text)
    with pytest.raises(UserError) as raised:
        user_candidates.read_all([path], references=True)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert len(str(raised.value)) < 400 + len(str(path))


@pytest.mark.parametrize("kind", ["pipe", "directory", "device", "bytes", "missing", "long name"])
def test_what_is_no_file_of_text_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = {"device": Path("/dev/zero"), "long name": tmp_path / ("x" * 300)}.get(
        kind, tmp_path / "odd"
    )
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "bytes":
        path.write_bytes(b'{"layers": ["\xff"]}')
    with pytest.raises(UserError):
        user_candidates.read(path)


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(TINY.to_json(), encoding="utf-8-sig")
    assert user_candidates.read(tmp_path / "a.json").text == TINY.to_json()


def test_the_largest_candidate_is_over_a_limit_and_no_more_than_that() -> None:
    """Its counts are exact, and far over a limit is a number that a database holds."""
    largest = LayeredCandidate(
        layers=(Conv(width=WIDEST, kernel=28, padding=27),) * DEEPEST,
        head=Head(kind="flatten-linear"),
    )
    trial = optuna.create_study().ask()
    with pytest.raises(optuna.TrialPruned):
        gate(trial, largest, Limits(max_params=1, max_macs=1))
    assert trial.user_attrs["macs"] == count_macs(largest) > 2**63
    assert sum(trial.user_attrs["reason"].count(f"{n:,}") for n in (count_macs(largest),)) == 1


def test_a_missing_file_and_a_binary_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read: No such file"):
        user_candidates.read(tmp_path / "none.json")
    (tmp_path / "x").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="holds no candidate"):
        user_candidates.read(tmp_path / "x")


@pytest.mark.processes
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
    larger.write_text(LayeredCandidate(layers=(Conv(width=500),)).to_json())
    more = ("--candidate", str(file), str(larger), "--max-params", "1000", "--workers", "1")
    done = run(command, *more)
    assert done.returncode == 0, done.stderr
    trained, rejected = beside(tmp_path)
    assert trained.state == TrialState.COMPLETE
    assert trained.user_attrs["candidate"] == TINY.to_json()
    assert list(trained.intermediate_values) == [1, 2]
    assert rejected.state == TrialState.PRUNED
    assert rejected.user_attrs["reason"] == "over budget: 10,510 parameters > 1,000"
    assert (
        f"user candidate: tiny: {100 * trained.values[0]:.2f} % with 122 parameters" in done.stdout
    )
    assert "user candidate: larger: over budget: 10,510 parameters > 1,000" in done.stdout
    report = (tmp_path / "reports" / "leaderboard.md").read_text()
    assert "h0 (user candidate: tiny)" in report
    assert "10,510" in report
    search = load(tmp_path).get_trials()
    assert [trial.state for trial in search] == [TrialState.WAITING]  # its own first trial

    again = run(command, *more)
    assert again.returncode == 0, again.stderr
    assert "user candidate: tiny: " in again.stdout
    assert len(beside(tmp_path)) == 2


@pytest.mark.processes
def test_one_that_was_cut_is_trained_to_its_end_by_the_next_command(
    command: list[str], tmp_path: Path, file: Path
) -> None:
    arguments = ("--candidate", str(file), "--workers", "1", "--epochs", "300")
    process = start(command, *arguments)
    wait_for(lambda: any(len(trial.intermediate_values) > 2 for trial in beside(tmp_path)), process)
    kill_group(process)
    done = run(command, *arguments)
    assert done.returncode == 0, done.stderr
    (ended,) = beside(tmp_path)
    assert ended.state == TrialState.COMPLETE
    assert ended.user_attrs["candidate"] == TINY.to_json()
    assert ended.user_attrs["resumed_after_epoch"] >= 2
    assert ended.user_attrs["label"] == "user candidate: tiny"
