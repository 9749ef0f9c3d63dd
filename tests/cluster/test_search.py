"""The user's journey on PostgreSQL: two commands, one study, a server that restarts meanwhile."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
import psutil
import pytest
from optuna.trial import TrialState

from search.study.storages.opening import connect, open_study
from tests.cluster.postgres import USER, PostgresServer, free_port
from tests.faults.processes import check_whole
from tests.helpers.data.idx_files import write_idx

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
TRIALS = 8
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)
PATIENT = 600  # seconds: a loaded machine


@dataclass(frozen=True, kw_only=True)
class Searched:
    """What a search on a server left behind."""

    folder: Path
    server: PostgresServer
    name: str  # of the database
    command_lines: list[str]  # of all processes of both commands
    outputs: list[str]

    @property
    def url(self) -> str:
        """With the password."""
        return self.server.url(self.name)

    @property
    def bare_url(self) -> str:
        """Without it: it comes from the environment."""
        return bare(self.server, self.name)

    def call(self, command: str, *more: str) -> subprocess.CompletedProcess[str]:
        """Run a command on the study; the password comes from the environment."""
        done = subprocess.run(
            [sys.executable, str(ROOT / "search" / command), "--storage", self.bare_url, *more],
            capture_output=True,
            text=True,
            timeout=PATIENT,
            env=with_password(self.server),
        )
        assert self.server.password not in done.stdout + done.stderr
        assert done.returncode == 0, done.stdout + done.stderr
        return done


def bare(server: PostgresServer, name: str) -> str:
    return f"postgresql+psycopg://{USER}@127.0.0.1:{server.port}/{name}"


def with_password(server: PostgresServer) -> dict[str, str]:
    return {**os.environ, "PGPASSWORD": server.password}


def wait_until(done: Callable[[], bool], *processes: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + PATIENT
    while not done():
        assert all(process.poll() is None for process in processes), "a command ended too early"
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.1)


@contextmanager
def searching(
    command: list[str], server: PostgresServer, out: Path
) -> Iterator[subprocess.Popen[str]]:
    with out.open("w") as log:
        process = subprocess.Popen(
            command, stdout=log, stderr=log, text=True, env=with_password(server)
        )
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


def finished(study: optuna.Study) -> int:
    return sum(trial.state in FINISHED for trial in study.get_trials(deepcopy=False))


@pytest.fixture(scope="module")
def searched(
    running_server: PostgresServer,
    tmp_path_factory: pytest.TempPathFactory,
    mnist_1200: tuple[np.ndarray, np.ndarray],
) -> Searched:
    """Two commands of one worker each end a search over a restart of the server."""
    folder, server = tmp_path_factory.mktemp("server"), running_server
    images, labels = mnist_1200
    (folder / "data").mkdir()
    for name, part in {"train": slice(1000), "t10k": slice(1000, None)}.items():
        write_idx(folder / "data" / f"{name}-images-idx3-ubyte", images[part])
        write_idx(folder / "data" / f"{name}-labels-idx1-ubyte", labels[part])
    url = server.create("searched")
    command = [sys.executable, str(ROOT / "search/run.py"), "--data", str(folder / "data")]
    command += ["--storage", bare(server, "searched"), "--reports", str(folder / "reports")]
    command += ["--trials", str(TRIALS), "--workers", "1", "--epochs", "3", "--device", "cpu"]
    logs = [folder / "first.log", folder / "second.log"]
    opened = connect(url)  # so that the study can be looked for
    with (
        searching(command, server, logs[0]) as first,
        searching(command, server, logs[1]) as second,
    ):
        both = (first, second)
        wait_until(lambda: "cnn-search" in optuna.get_all_study_names(opened), *both)
        study = open_study(url, "cnn-search")
        wait_until(lambda: len(owners(study)) == 2, *both)
        parents = [psutil.Process(process.pid) for process in both]
        children = [child for parent in parents for child in parent.children(recursive=True)]
        command_lines = [" ".join(process.cmdline()) for process in [*parents, *children]]
        assert finished(study) < TRIALS
        server.stop()
        wait_until(lambda: all("waiting for it" in log.read_text() for log in logs), *both)
        server.start()
        for process in both:
            process.wait(PATIENT)
        outputs = [log.read_text() for log in logs]
        assert [process.returncode for process in both] == [0, 0], outputs
    return Searched(
        folder=folder, server=server, name="searched", command_lines=command_lines, outputs=outputs
    )


def owners(study: optuna.Study) -> set[str]:
    trials = study.get_trials(deepcopy=False)
    return {trial.user_attrs["parent"] for trial in trials if "parent" in trial.user_attrs}


def test_the_total_is_exact_and_nothing_is_lost_or_done_twice(searched: Searched) -> None:
    trials = open_study(searched.url, "cnn-search").trials
    check_whole(trials, TRIALS)
    queued = [trial for trial in trials if trial.user_attrs.get("label")]
    assert len(queued) == 1, "the simplest candidate was waiting, and was trained once"
    assert all("it answers again" in output for output in searched.outputs)


def test_report_finalists_reproduce_and_export_work_on_it(searched: Searched) -> None:
    data, reports = str(searched.folder / "data"), str(searched.folder / "reports")
    arguments = ("--data", data, "--device", "cpu", "--workers", "2", "--reports", reports)
    finals = searched.call(
        "finalists.py", *arguments, "--top", "1", "--seeds", "2", "--no-references"
    )
    assert "(2 seeds)" in finals.stdout
    assert len(open_study(searched.url, "cnn-search finalists").trials) == 2
    searched.call("report.py", "--reports", reports)
    board = json.loads((searched.folder / "reports" / "leaderboard.json").read_text())
    assert board
    trials = open_study(searched.url, "cnn-search").trials
    complete = next(trial for trial in trials if trial.state == TrialState.COMPLETE)
    repeated = searched.call("reproduce.py", "--data", data, str(complete.number))
    assert f"PASS: trial {complete.number}, 3 epochs" in repeated.stdout
    output = searched.folder / "export"
    searched.call("export.py", "--data", data, "--output", str(output))
    assert (output / "model.onnx").exists()


def test_the_dashboard_shows_it(searched: Searched) -> None:
    port = free_port()
    command = [sys.executable, str(ROOT / "search/dashboard.py"), "--port", str(port)]
    command += ["--storage", searched.bare_url]
    log = searched.folder / "dashboard.log"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with searching(command, searched.server, log) as process:
        wait_until(lambda: "shows the study" in log.read_text() and listens(port), process)
        with opener.open(f"http://127.0.0.1:{port}/api/studies", timeout=PATIENT) as answer:
            assert "cnn-search" in answer.read().decode()
    assert searched.server.password not in log.read_text()


def listens(port: int) -> bool:
    import socket

    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def test_the_password_is_nowhere(searched: Searched) -> None:
    secret = searched.server.password
    assert len(searched.command_lines) >= 4, "two commands and their workers"
    for text in [*searched.command_lines, *searched.outputs]:
        assert secret not in text
    for file in searched.folder.rglob("*"):
        if file.is_file():
            assert secret.encode() not in file.read_bytes(), file
    for summary in optuna.get_all_study_summaries(connect(searched.url)):
        study = open_study(searched.url, summary.study_name)
        assert secret not in str([study.user_attrs, study.trials])


@pytest.mark.parametrize("wrong", ["password", "database", "server"])
def test_what_cannot_be_reached_is_one_line(
    server: PostgresServer, data: Path, tmp_path: Path, wrong: str
) -> None:
    url = server.url("nowhere" if wrong == "database" else "postgres")
    if wrong == "password":
        url = server.url(password="mistaken-secret")
    if wrong == "server":
        server.stop()
    command = [sys.executable, str(ROOT / "search/run.py"), "--data", str(data)]
    command += ["--storage", url, "--reports", str(tmp_path), "--device", "cpu"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENT)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert f"{USER}:***@127.0.0.1" in done.stderr
    for secret in (server.password, "mistaken-secret"):
        assert secret not in done.stdout + done.stderr
