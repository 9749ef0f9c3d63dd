"""A search, its finalists and its report, run for real and kept in a folder of reports/.

    python benchmarks/reference_run.py                  reports/reference: all defaults, two hours
    python benchmarks/reference_run.py --name under-5000 --max-params 5000

Runs the commands that a user would: search/run.py, search/finalists.py. Stop it and repeat it at
will: it goes on. What they make lies in reports/NAME/run until all is done; then the study is
written to reports/NAME/study.db in one compact file, the report is made from that file, and
about.md says which commands, commits and machine made it, and how long they took. Nothing is edited
by hand: from the study alone ``python search/report.py --storage reports/NAME/study.db
--reports reports/NAME`` makes the same report again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __package__ in (None, ""):
    sys.path[0] = str(ROOT)

from search.console.arguments import positive
from search.study.settings import commit

LIMIT = 3 * 2**20  # bytes that a kept study may have


def parse() -> argparse.Namespace:
    """The command line as a namespace."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--name", default="reference", help="folder of reports/ for all of it")
    add("--trials", type=positive, default=100)
    add("--max-params", type=positive, default=20_000)
    add("--top", type=positive, default=3, help="finalists")
    add("--seeds", type=positive, default=10, help="trainings of each finalist")
    add("--reference-seeds", type=positive, default=5, help="trainings of each public system")
    return parser.parse_args()


def commands(options: argparse.Namespace, storage: Path) -> list[list[str]]:
    """The user's commands, without the interpreter."""
    where = ["--storage", str(storage), "--reports", str(storage.parent)]
    search = ["search/run.py", "--trials", str(options.trials)]
    if options.max_params != 20_000:
        search += ["--max-params", str(options.max_params)]
    seeds = ["--seeds", str(options.seeds), "--reference-seeds", str(options.reference_seeds)]
    finalists = ["search/finalists.py", "--top", str(options.top), *seeds]
    return [[*search, *where], [*finalists, *where]]


def run(command: list[str], sittings: Path) -> int:
    """Run a command of the project, and note when, how long and by which commit.

    It is left to stop by itself: Ctrl-C reaches it too, and SIGTERM is passed on.
    """
    started, clock, made_by = datetime.now(UTC), time.perf_counter(), commit(ROOT)
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT)
    before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
    while True:
        try:
            code = process.wait()
            break
        except KeyboardInterrupt:
            continue
    signal.signal(signal.SIGTERM, before)
    sitting = {
        "command": _words(command),
        "commit": made_by,
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 1),
        "exit": code,
    }
    with sittings.open("a", encoding="utf-8") as file:
        file.write(json.dumps(sitting) + "\n")
    return code


def is_done(command: list[str], sittings: Path) -> bool:
    """Whether a command has ended well before: a later commit may go on with the next one."""
    if not sittings.exists():
        return False
    done = [json.loads(line) for line in sittings.read_text(encoding="utf-8").splitlines()]
    return any(one["command"] == _words(command) and one["exit"] == 0 for one in done)


def _words(command: list[str]) -> str:
    return "python " + shlex.join(_shown(command))


def _shown(command: list[str]) -> list[str]:
    """The command as a user gives it: where the files lie is no part of the result."""
    hidden = {"--storage", "--reports"}
    return [
        part
        for at, part in enumerate(command)
        if part not in hidden and (at == 0 or command[at - 1] not in hidden)
    ]


def keep(storage: Path, kept: Path) -> None:
    """Write a study's whole content, what is still in its log included, into one compact file."""
    kept.unlink(missing_ok=True)
    with closing(sqlite3.connect(storage)) as connection:
        connection.execute("VACUUM INTO ?", (str(kept),))
    if kept.stat().st_size > LIMIT:
        raise SystemExit(f"{kept} has {kept.stat().st_size:,} bytes: more than {LIMIT:,}")


def about(sittings: Path) -> str:
    """Commands, commits, machine and durations, as Markdown."""
    from search.study.recording import versions

    done = [json.loads(line) for line in sittings.read_text(encoding="utf-8").splitlines()]
    rows = [
        f"| `{sitting['command']}` | {sitting['commit']} | {sitting['started']} "
        f"| {sitting['seconds'] / 60:.1f} min |"
        for sitting in done
    ]
    software = ", ".join(f"{name} {version}" for name, version in versions().items())
    return "\n".join(
        [
            "# How this was made",
            "",
            "By `benchmarks/reference_run.py`, which runs these commands and edits nothing. A",
            "command that was stopped and went on has several lines.",
            "",
            "| command | commit | started (UTC) | duration |",
            "|---|---|---|---:|",
            *rows,
            "",
            f"Machine: {_processor()}, {os.cpu_count()} cores, {_memory()}, no GPU.",
            f"Arithmetic: {_arithmetic()}.",
            f"Software: {software}.",
            "",
        ]
    )


def _arithmetic() -> str:
    """What training computes in here, which decides how long it takes."""
    from search.training.hardware import use_bfloat16

    return "bfloat16 (AVX-512 BF16)" if use_bfloat16("auto", "cpu") else "float32 (no AVX-512 BF16)"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _memory() -> str:
    pages, size = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    return f"{pages * size / 2**30:.0f} GiB"


def main() -> int:
    """Run what is missing, then write the folder; returns the exit code."""
    options = parse()
    folder = ROOT / "reports" / options.name
    work = folder / "run"
    work.mkdir(parents=True, exist_ok=True)
    storage, sittings = work / "study.db", work / "sittings.jsonl"
    for command in commands(options, storage):
        code = 0 if is_done(command, sittings) else run(command, sittings)
        if code:
            return code
    kept = folder / "study.db"
    keep(storage, kept)
    (folder / "about.md").write_text(about(sittings), encoding="utf-8")
    report = ["search/report.py", "--storage", str(kept), "--reports", str(folder)]
    return subprocess.run([sys.executable, *report], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
