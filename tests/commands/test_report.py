"""The report command, run as a user runs it: real processes on real SQLite files."""

from __future__ import annotations

import csv
import hashlib
import json
import os
import resource
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import optuna
import pytest

from search.common.errors import UserError
from search.reporting.pages.files import BEGINNINGS, check_report
from search.reporting.pages.writing import write_reports
from tests.reporting.studies import complete, realistic, sqlite_study, study_of

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
FILES = ["leaderboard.csv", "leaderboard.html", "leaderboard.json", "leaderboard.md"]

# Reports to a study as a worker does, until a line comes in; prints its slowest trial's seconds.
WRITER = """
import select, sys, time
import optuna
from search.study.storages.opening import open_study
optuna.logging.set_verbosity(optuna.logging.ERROR)
study = open_study(sys.argv[1])
longest = 0.0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    start = time.perf_counter()
    trial = study.ask()
    for epoch in range(5):
        trial.report(0.9 + epoch / 100, epoch + 1)
    trial.set_user_attr("parameters", 9_000)
    study.tell(trial, 0.95)
    longest = max(longest, time.perf_counter() - start)
print(longest, flush=True)
"""


def report(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "search/report.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, cwd="/")


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one line of a command that was refused."""
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    return done.stderr


@pytest.fixture(scope="session")
def study_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("study") / "study.db"
    sqlite_study(path, realistic(30))
    return path


def test_it_writes_four_files_and_prints_the_best_five(study_file: Path, tmp_path: Path) -> None:
    done = report("--storage", study_file, "--reports", tmp_path / "new" / "out")

    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == FILES
    with (tmp_path / "new/out/leaderboard.csv").open(encoding="utf-8") as file:
        best = next(csv.DictReader(file))
    lines = done.stdout.splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("rank")) + 1
    assert lines[first].split()[1] == best["trial"]
    assert best["architecture"] in lines[first]
    assert len([line for line in lines[first : first + 6] if "%" in line]) == 5
    assert lines[-1] == f"wrote {tmp_path / 'new/out/leaderboard.json'}"


def test_a_report_replaces_the_one_before_and_leaves_nothing_else(
    study_file: Path, tmp_path: Path
) -> None:
    (tmp_path / "leaderboard.md").write_text("# Leaderboard of yesterday")
    study = optuna.load_study(study_name=None, storage=f"sqlite:///{study_file}")
    write_reports(study, tmp_path, top=3)

    assert sorted(path.name for path in tmp_path.iterdir()) == FILES
    assert "of yesterday" not in (tmp_path / "leaderboard.md").read_text()


def test_several_studies_are_compared(study_file: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.db"
    sqlite_study(other, [complete(accuracy=0.98)])
    before = [hashlib.sha256(file.read_bytes()).hexdigest() for file in (study_file, other)]
    done = report(str(study_file), str(other), "--reports", str(tmp_path / "r"))
    assert done.returncode == 0, done.stderr
    assert "is ahead on the validation images" in done.stdout
    assert sorted(path.name for path in (tmp_path / "r").iterdir()) == [
        f"comparison.{kind}" for kind in ("csv", "html", "md")
    ]
    assert before == [hashlib.sha256(f.read_bytes()).hexdigest() for f in (study_file, other)]
    for arguments, message in (
        ((str(study_file), str(study_file)), "a comparison needs two studies"),
        ((str(study_file), str(other), "--top", "3"), "are for the report of a single study"),
        ((str(study_file), str(tmp_path / "none.db")), "there is no study at"),
    ):
        assert message in refused(report(*arguments, "--reports", tmp_path / "none"))
    assert not (tmp_path / "none").exists()


def test_top_limits_the_rows_of_the_page_alone(study_file: Path, tmp_path: Path) -> None:
    report("--storage", study_file, "--reports", tmp_path, "--top", 2)
    page = (tmp_path / "leaderboard.html").read_text(encoding="utf-8")
    entries = json.loads((tmp_path / "leaderboard.json").read_text(encoding="utf-8"))["entries"]

    assert page.count('class="row"') == 2
    assert len(entries) > 2


def test_the_study_is_not_changed(study_file: Path, tmp_path: Path) -> None:
    def rows() -> list[str]:
        with sqlite3.connect(study_file) as database:
            return list(database.iterdump())

    before = rows()
    report("--storage", study_file, "--reports", tmp_path)

    assert rows() == before


def test_help_is_quick_and_loads_no_library() -> None:
    start = time.perf_counter()
    done = report("--help")
    seconds = time.perf_counter() - start
    probe = "import search.report, sys; print({'optuna', 'torch', 'plotly'} & sys.modules.keys())"
    loaded = subprocess.run(
        [sys.executable, "-c", probe], capture_output=True, text=True, cwd=ROOT, check=True
    )

    assert "--storage" in done.stdout
    assert loaded.stdout == "set()\n"
    assert seconds < 0.5  # 0.05 s here alone on a core


def test_without_a_study_nothing_is_made(tmp_path: Path) -> None:
    line = refused(report("--storage", tmp_path / "study.db", "--reports", tmp_path / "out"))

    called = f"{sys.executable} {ROOT / 'search' / 'run.py'}"
    assert f"Run {called} --storage {tmp_path / 'study.db'} first." in line
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_stays_empty(tmp_path: Path) -> None:
    (tmp_path / "study.db").touch()
    refused(report("--storage", tmp_path / "study.db", "--reports", tmp_path / "out"))

    assert (tmp_path / "study.db").stat().st_size == 0


@pytest.mark.parametrize("kind", ["text", "database"])
def test_a_file_that_is_no_study_is_refused_and_not_changed(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    if kind == "text":
        path.write_text("these are notes, not a database " * 40)
    else:
        with sqlite3.connect(path) as database:
            database.execute("CREATE TABLE accounts (name TEXT)")
    before = hashlib.sha256(path.read_bytes()).digest()
    line = refused(report("--storage", path, "--reports", tmp_path / "out"))

    assert str(path) in line
    assert hashlib.sha256(path.read_bytes()).digest() == before
    assert not (tmp_path / "out").exists()


def test_of_several_studies_one_must_be_named(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    for name in ("first", "second"):
        sqlite_study(path, [complete()], name=name)

    line = refused(report("--storage", path, "--reports", tmp_path / "out"))
    assert "first, second" in line
    assert "--study" in line
    done = report("--storage", path, "--study", "second", "--reports", tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert "# Leaderboard of second" in (tmp_path / "out/leaderboard.md").read_text()


def test_a_place_that_cannot_be_written_is_named(study_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    line = refused(report("--storage", study_file, "--reports", tmp_path / "file"))

    assert str(tmp_path / "file") in line
    assert "--reports" in line


@pytest.mark.parametrize(
    "arguments", [("--top", "0"), ("--top", "many"), ("--storage", "nonsense://u:secret@host/x")]
)
def test_bad_arguments_are_one_line(arguments: tuple[str, str], tmp_path: Path) -> None:
    line = refused(report(*arguments, "--reports", tmp_path))

    assert "secret" not in line


def test_a_running_search_is_reported_and_not_disturbed(tmp_path: Path) -> None:
    path = tmp_path / "study.db"
    sqlite_study(path, realistic(30))
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
    ) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
        finished = []
        for number in range(3):
            done = report("--storage", path, "--reports", tmp_path / str(number))
            assert done.returncode == 0, done.stderr
            data = json.loads((tmp_path / str(number) / "leaderboard.json").read_text())
            finished.append(data["counts"]["complete"])
        out, errors = writer.communicate("stop\n", timeout=60)

    assert writer.returncode == 0, errors
    assert finished == sorted(set(finished))  # each report saw more than the one before
    assert float(out) < 5.0  # seconds that the slowest trial's seven writes took


def test_a_report_that_does_not_fit_leaves_the_old_one_whole(tmp_path: Path) -> None:
    """As on a full disk: the limit on a file's size ends writing in the largest file."""
    study = study_of([complete()])
    paths = write_reports(study, tmp_path).paths
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(map(len, before.values())) // 2, limits[1]))
    try:
        for folder in (tmp_path, tmp_path / "new"):
            with pytest.raises(UserError, match="cannot be written"):
                write_reports(study, folder, top=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

    assert {path.name for path in paths} == set(before)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("name", sorted(BEGINNINGS))
def test_a_file_that_is_no_reports_is_neither_replaced_nor_deleted(
    name: str, tmp_path: Path
) -> None:
    theirs = tmp_path / name
    theirs.write_text("a user's own")
    with pytest.raises(UserError, match=f"{name} is not of an earlier report"):
        write_reports(study_of([complete()]), tmp_path)
    theirs.rename(tmp_path / "elsewhere")
    theirs.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match=f"{name} is not of an earlier report"):
        write_reports(study_of([complete()]), tmp_path)

    assert (tmp_path / "elsewhere").read_text() == "a user's own"
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("folder", ["reference", "under-2500", "under-5000"])
def test_the_kept_reports_are_known_as_such(folder: str) -> None:
    there = {path.name for path in (ROOT / "reports" / folder).iterdir()}
    assert there >= {name for name in BEGINNINGS if not name.startswith("comparison")}
    check_report(ROOT / "reports" / folder)
