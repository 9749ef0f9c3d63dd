"""Someone looks at a study and edits it while it is searched: no harm, or one clear line."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.study.storages.opening import create_study
from tests.commands.test_dashboard import DIRECT
from tests.faults.processes import (
    check_done,
    finish,
    finished_records,
    start,
    started,
    trials,
    wait_for,
)

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]


class Dashboard:
    """The real server, edited through the addresses that its page calls."""

    def __init__(self, database: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._url = f"http://127.0.0.1:{port}"
        self.process = subprocess.Popen(
            [
                *(sys.executable, str(ROOT / "search/dashboard.py"), "--port", str(port)),
                *("--storage", str(database)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline().startswith("http://")

    def answers(self) -> bool:
        try:
            self.ask("GET", "/api/meta")
        except OSError:
            return False
        return True

    def ask(self, method: str, path: str, **body: object) -> int:
        request = urllib.request.Request(
            self._url + path,
            method=method,
            data=json.dumps(body).encode() if method != "GET" else None,
            headers={"Content-Type": "application/json"},
        )
        try:
            with DIRECT.open(request, timeout=30) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code


@pytest.fixture
def dashboard(tmp_path: Path) -> Iterator[Dashboard]:
    """A dashboard of an empty study, which the search then fills."""
    create_study(str(tmp_path / "study.db"), "cnn-search")
    opened = Dashboard(tmp_path / "study.db")
    while not opened.answers():
        assert opened.process.poll() is None
    yield opened
    opened.process.kill()
    opened.process.communicate()


def running(database: Path) -> optuna.trial.FrozenTrial | None:
    """A trial that has finished an epoch and goes on."""
    found = [t for t in trials(database) if t.state == TrialState.RUNNING and t.intermediate_values]
    return found[0] if found else None


def test_notes_and_attributes_edited_and_a_trial_ended_in_the_dashboard(
    command: list[str], tmp_path: Path, dashboard: Dashboard
) -> None:
    database = tmp_path / "study.db"
    process = start(command, "--trials", "1", "--workers", "1", "--epochs", "80")
    wait_for(lambda: running(database) is not None, process)
    trial = running(database)
    assert trial is not None
    ours = dict.fromkeys(("parent", "worker_deaths", "worker", "seed"), "../../mine")
    note = f"/api/studies/1/{trial._trial_id}/note"
    for body in (
        "look at this",
        "",
    ):  # a version that is there already, the search's own, is refused
        asked = (dashboard.ask("PUT", note, body=body, version=version) for version in range(1, 9))
        assert 204 in asked
    attributes = f"/api/trials/{trial._trial_id}/user-attrs"
    edited = dashboard.ask("POST", attributes, user_attrs={**ours, "mine": [1, "two"]})
    assert edited == 204, "the trial was still running"
    told = dashboard.ask("POST", f"/api/trials/{trial._trial_id}/tell", state="Fail")
    assert told == 204, "the trial was still running"
    code, _, err = finish(process)
    assert (code, err) == (0, "")
    found = trials(database)
    assert found[trial.number].state == TrialState.FAIL
    assert found[trial.number].user_attrs["mine"] == [1, "two"]
    assert len(finished_records(database)) == 1
    assert not list(tmp_path.glob("*.checkpoints/*"))


def test_a_study_deleted_in_the_dashboard_stops_its_search(
    command: list[str], tmp_path: Path, dashboard: Dashboard
) -> None:
    database = tmp_path / "study.db"
    process = start(command, "--trials", "500", "--workers", "2")
    wait_for(lambda: started(database) >= 3, process)
    assert dashboard.ask("DELETE", "/api/studies/1") == 204
    code, _, err = finish(process, timeout=60)
    assert code == 2
    assert err.count("\n") == 1, err
    assert "the study 'cnn-search' was deleted or renamed while the search ran" in err


def test_reports_written_all_the_while_do_no_harm(command: list[str], tmp_path: Path) -> None:
    database = tmp_path / "study.db"
    process = start(command, "--trials", "6", "--workers", "2", "--epochs", "8")
    wait_for(lambda: bool(trials(database)), process)
    reports = 0
    while process.poll() is None:
        done = subprocess.run(
            [
                *(sys.executable, str(ROOT / "search/report.py"), "--storage", str(database)),
                *("--reports", str(tmp_path / "looked")),
            ],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stderr) == (0, "")
        reports += 1
    code, _, err = finish(process)
    assert (code, err) == (0, "")
    assert reports >= 2
    check_done(database, 6)
    assert [t.number for t in trials(database) if t.state == TrialState.FAIL] == []
