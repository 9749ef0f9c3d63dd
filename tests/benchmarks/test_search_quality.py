"""The benchmark of the search itself: what it keeps and what it counts."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from scipy import stats

from benchmarks import search_quality
from benchmarks.search_quality import Found, Search, difference, read, run, run_all
from search.common.errors import UserError

ROOT = Path(__file__).resolve().parents[2]
FOUND = Found(trials=3, seeds=2, says=0.98, fresh=(0.97, 0.96))
JOBS = [Search(kind=kind, seed=0, passes=100_000) for kind in ("racing", "random")]


def test_differences_are_paired() -> None:
    mean, half = difference([0.3, 0.5, 0.7], [0.1, 0.4, 0.7])
    test = stats.ttest_rel([0.3, 0.5, 0.7], [0.1, 0.4, 0.7]).confidence_interval(0.95)
    assert mean == pytest.approx(0.1)
    assert (mean - half, mean + half) == pytest.approx((test.low, test.high))
    assert math.isnan(difference([0.3], [0.1])[1])


def test_what_this_commit_kept_is_not_run_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    keep = tmp_path / "quality.jsonl"
    with keep.open("w") as file:
        for job in JOBS:
            line = {"job": asdict(job), "commit": "abc", "result": asdict(FOUND)}
            file.write(json.dumps(line) + "\n")
    monkeypatch.setattr(search_quality, "commit", lambda root: "abc")
    monkeypatch.setattr(search_quality, "beside", lambda do, jobs: iter(jobs))
    assert run_all(run, JOBS, keep, read) == dict.fromkeys(JOBS, FOUND)
    assert "2 of 2" in capsys.readouterr().out


@pytest.mark.parametrize(("kept", "made_by"), [("abc", "def"), ("abc-dirty", "abc-dirty")])
def test_another_commit_or_changed_files_take_nothing(
    kept: str, made_by: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = tmp_path / "quality.jsonl"
    line = {"job": asdict(JOBS[0]), "commit": kept, "result": asdict(FOUND)}
    keep.write_text(json.dumps(line) + "\n")
    ran: list[Search] = []
    new = replace(FOUND, trials=4)

    def beside(do: object, jobs: Sequence[Search]) -> Iterator[tuple[Search, Found]]:
        ran.extend(jobs)
        return ((job, new) for job in jobs)

    monkeypatch.setattr(search_quality, "commit", lambda root: made_by)
    monkeypatch.setattr(search_quality, "beside", beside)
    assert run_all(run, JOBS[:1], keep, read) == {JOBS[0]: new}
    assert ran == JOBS[:1]
    assert json.loads(keep.read_text().splitlines()[-1])["commit"] == made_by


@pytest.mark.parametrize("torn", ['{"job": {"kind": "def', '{"commit": "abc"}', "[1]", "\xff"])
def test_a_line_that_was_not_kept_by_it_is_named(
    torn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = tmp_path / "quality.jsonl"
    line = {"job": asdict(JOBS[0]), "commit": "abc", "result": asdict(FOUND)}
    keep.write_bytes(f"{json.dumps(line)}\n{torn}\n".encode("latin-1"))
    monkeypatch.setattr(search_quality, "commit", lambda root: "abc")
    with pytest.raises(UserError, match=r"line 2 of .*quality\.jsonl"):
        run_all(run, JOBS, keep, read)


def test_a_folder_is_refused_before_anything_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["search_quality.py", "--keep", str(tmp_path)])
    monkeypatch.setattr(search_quality, "run_all", lambda *asked: pytest.fail("it ran"))
    with pytest.raises(UserError, match=r"is a folder\. Name a file"):
        search_quality.main()


LEFT_ALONE = """
import multiprocessing, os, pathlib, signal, sys, time
from benchmarks.search_quality import is_left_alone

began, ended = (pathlib.Path(name) for name in sys.argv[1:])

def search():
    while not is_left_alone():
        began.touch()
        time.sleep(0.05)
    ended.touch()

multiprocessing.get_context("fork").Process(target=search).start()
while not began.exists():
    time.sleep(0.05)
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.processes
def test_a_search_knows_when_its_command_was_killed(tmp_path: Path) -> None:
    """The processes of a pool are not told: they would train on for nobody."""
    ended = tmp_path / "ended"
    command = [sys.executable, "-c", LEFT_ALONE, str(tmp_path / "began"), str(ended)]
    assert subprocess.run(command, cwd=ROOT, timeout=60).returncode == -signal.SIGKILL
    deadline = time.monotonic() + 10
    while not ended.exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
