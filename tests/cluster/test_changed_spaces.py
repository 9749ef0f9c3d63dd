"""A study in PostgreSQL under another space, and one that begins from it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.distributions import IntDistribution
from optuna.trial import TrialState

from search.common.process_id import process_id
from search.study import attributes
from search.study.storages.opening import connect, open_study
from tests.study.transfer.spaces import FIRST, file_of

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
WIDER = FIRST.replace("4, 16", "4, 64")
Search = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def search(data: Path, tmp_path: Path) -> Search:
    """Runs a search of a space of the test's own; the password is in the URL."""

    def run(storage: str, *more: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, str(ROOT / "search/run.py"), "--data", str(data)]
        command += ["--space", str(tmp_path / "mine.py"), "--workers", "1", "--device", "cpu"]
        command += ["--epochs", "1", "--reports", str(tmp_path / "reports")]
        command += ["--storage", storage, *more]
        return subprocess.run(command, capture_output=True, text=True, timeout=300)

    return run


def test_a_study_goes_on_in_a_wider_space_and_another_begins_from_it(
    search: Search, database: str, tmp_path: Path
) -> None:
    file_of(tmp_path)
    assert search(database, "--trials", "3").returncode == 0
    before = open_study(database).trials
    file_of(tmp_path, WIDER)
    wider = search(database, "--trials", "4", "--continue-anyway")
    assert wider.returncode == 0, wider.stderr
    assert "3 of 3 trials are kept" in wider.stdout + wider.stderr
    after = open_study(database, "cnn-search").trials
    assert [(t.number, t.params, t.value) for t in after[:3]] == [
        (t.number, t.params, t.value) for t in before
    ]
    assert [trial.state for trial in after] == [TrialState.COMPLETE] * 4
    assert {trial.distributions["width"] for trial in after} == {IntDistribution(4, 64)}
    names = optuna.get_all_study_names(connect(database))
    assert "cnn-search before change 1" in names

    named = f"{database}::cnn-search"
    other = search(database, "--study", "other", "--trials", "3", "--from", named)
    assert other.returncode == 0, other.stderr
    assert "4 trainings of 4 candidates" in other.stdout + other.stderr
    begun = open_study(database, "other").trials
    best = max(after, key=lambda trial: trial.value or 0)
    assert best.params in [trial.params for trial in begun[:2]]
    secret = database.split(":")[2].split("@")[0]
    for done in (wider, other):
        assert secret not in done.stdout + done.stderr


def test_what_another_command_trains_is_not_written_anew(
    search: Search, database: str, tmp_path: Path
) -> None:
    file_of(tmp_path)
    assert search(database, "--trials", "1").returncode == 0
    study = open_study(database)
    attributes.PARENT.set(study.ask(), process_id())
    file_of(tmp_path, WIDER)
    refused = search(database, "--trials", "2", "--continue-anyway")
    assert refused.returncode == 2
    assert "error: another command is searching 'cnn-search'" in refused.stderr
    assert [t.state for t in study.trials] == [TrialState.COMPLETE, TrialState.RUNNING]
