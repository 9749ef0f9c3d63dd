"""The searches kept in reports/: their reports can be made again from their studies alone."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.reference_run import LIMIT, is_done
from search.reporting.leaderboard import summarize
from search.reporting.pages import words
from search.study.storages.opening import open_study

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
KEPT = sorted(path.parent for path in ROOT.glob("reports/*/study.db"))
EXACT = ("leaderboard.csv", "finalists.csv", "finalists.svg")


STOPS = """
import signal, sys, time
def stop(*_):
    time.sleep(0.5)  # it has something to end
    sys.exit(143)
signal.signal(signal.SIGTERM, stop)
signal.signal(signal.SIGINT, stop)
print("up", flush=True)
time.sleep(60)
"""


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_a_run_that_is_stopped_is_noted(tmp_path: Path, by: signal.Signals) -> None:
    (tmp_path / "stops.py").write_text(STOPS)
    code = (
        "from pathlib import Path\nfrom benchmarks.reference_run import run\n"
        f"raise SystemExit(run([{str(tmp_path / 'stops.py')!r}], Path('sittings.jsonl')))"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    if by == signal.SIGINT:
        os.killpg(process.pid, by)  # as a terminal does
    else:
        process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == 143
    (sitting,) = map(json.loads, (tmp_path / "sittings.jsonl").read_text().splitlines())
    assert sitting["exit"] == 143
    assert sitting["seconds"] >= 0.5


def test_there_is_one() -> None:
    assert ROOT / "reports/reference" in KEPT


def test_only_what_has_ended_well_is_not_run_again(tmp_path: Path) -> None:
    sittings = tmp_path / "sittings.jsonl"
    search = ["search/run.py", "--trials", "9", "--storage", str(tmp_path / "study.db")]
    assert not is_done(search, sittings)
    for code, done in ((130, False), (0, True)):
        line = {"command": "python search/run.py --trials 9", "exit": code}
        with sittings.open("a") as file:
            file.write(json.dumps(line) + "\n")
        assert is_done(search, sittings) is done
    assert not is_done([*search, "--seed", "1"], sittings)


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_its_report_is_made_again_from_the_study(folder: Path, tmp_path: Path) -> None:
    """Nothing in a kept report was edited by hand; to renew one: search/report.py --reports."""
    study = shutil.copy(folder / "study.db", tmp_path / "study.db")
    done = subprocess.run(
        [
            *(sys.executable, str(ROOT / "search/report.py")),
            *("--storage", str(study), "--reports", str(tmp_path / "again")),
        ],
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    for name in EXACT:
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes(), name
    made_at = re.compile(r"^Made .*", re.MULTILINE)
    texts = [
        made_at.sub("", (place / "leaderboard.md").read_text(encoding="utf-8"))
        for place in (tmp_path / "again", folder)
    ]
    assert texts[0] == texts[1]
    title = re.search(r"<h1>.*?</h1>", (folder / "leaderboard.html").read_text(encoding="utf-8"))
    assert title and title.group() in (tmp_path / "again/leaderboard.html").read_text("utf-8")


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_its_study_is_one_small_file_that_can_be_read_where_nothing_can_be_written(
    folder: Path, tmp_path: Path
) -> None:
    assert (folder / "study.db").stat().st_size <= LIMIT
    assert not [*folder.glob("study.db-*")]
    shutil.copy(folder / "study.db", tmp_path)
    os.chmod(tmp_path / "study.db", 0o444)
    summary = summarize(open_study(str(tmp_path / "study.db"), None, read_only=True))
    assert summary.finalists is not None and summary.finalists.chosen is not None
    assert len(summary.finalists.chosen.runs) == 10
    about = (folder / "about.md").read_text(encoding="utf-8")
    trials = re.findall(r"search/run.py --trials (\d+)", about)  # the last that was asked for
    assert summary.finished == int(trials[-1])
    assert summary.finished == 100 or folder.name != "reference"
    assert "unknown" not in about
    assert "-dirty |" not in about or "\n`-dirty`: " in about, "what had changed is to be said"


def test_the_readme_shows_it() -> None:
    """The first screen's figures are those of the reference run."""
    study = open_study(str(ROOT / "reports/reference/study.db"), None, read_only=True)
    finalists = summarize(study).finalists
    assert finalists is not None and finalists.chosen is not None
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    first_screen = "\n".join(readme.splitlines()[:40])
    best = finalists.chosen
    low, high = words.interval(best.interval).split("–")
    shown = (words.percent(best.mean), f"{low} and {high}", words.count(best.parameters))
    assert all(figure in first_screen for figure in shown), shown
    systems = [entry for entry in finalists.entries if entry.is_reference]
    assert len(systems) == 4
    for entry in systems:
        assert f"{words.percent(entry.mean)} | {words.interval(entry.interval)}" in readme
    assert words.percent(systems[0].mean) in first_screen


@pytest.mark.parametrize("folder", KEPT, ids=lambda folder: folder.name)
def test_the_readme_shows_the_best_of_each(folder: Path) -> None:
    study = open_study(str(folder / "study.db"), None, read_only=True)
    finalists = summarize(study).finalists
    assert finalists is not None and finalists.chosen is not None
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    best = finalists.chosen
    shown = (words.count(best.parameters), words.percent(best.mean), words.interval(best.interval))
    row = re.compile(r"\|.*" + r".*".join(map(re.escape, shown)))
    assert row.search(readme), shown
