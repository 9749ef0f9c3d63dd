"""Output that fails, for real: closed pipes, a full disk, streams that are not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from search.common.output import Output, complain, say

ROOT = Path(__file__).parents[2]


def test_what_nobody_reads_and_what_a_disk_has_no_room_for_is_dropped() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    for descriptor in (writer, full):
        output = Output(descriptor, "utf-8")
        print("one\ntwo", file=output, flush=True)
        print("three", file=output, flush=True)
        os.close(descriptor)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "utf-16"])
def test_every_encoding_gets_every_line(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "out"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    output = Output(descriptor, encoding)
    print("± 1 – ü\udc80\x1b[2J", file=output)
    print("\x1b[1mbold", file=output.styled())
    print("rest", end="", file=output, flush=True)
    os.close(descriptor)
    first, second, third = path.read_text(encoding).split("\n")
    minus, dash = ("±", "–") if encoding.startswith("utf") else ("\\xb1", "\\u2013")
    assert first.startswith(minus) or encoding == "latin-1"
    assert dash in first
    assert first.endswith(r"\udc80\x1b[2J")
    assert (second, third) == ("\x1b[1mbold", "rest")


def test_a_line_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    say("a\nb\x1b[2J[red]")
    complain("c\nd")
    assert capsys.readouterr() == ("a\\nb\\x1b[2J[red]\n", "c\\nd\n")


@pytest.mark.processes
def test_a_stream_that_was_closed_gives_its_number_to_no_other_file(tmp_path: Path) -> None:
    code = (
        "from search.common.output import protect; protect()\n"
        "import subprocess, sys\n"
        f"file = open({str(tmp_path / 'study')!r}, 'w')\n"
        "print('lost'); print('lost', file=sys.stderr)\n"
        "subprocess.run([sys.executable, '-c', 'import os; os.write(1, b\"lost\")'])\n"
        "sys.exit(7 if file.fileno() > 2 else 1)"
    )
    shell = f'cd {ROOT} && exec {sys.executable} -c "$0" <&- >&- 2>&-'
    done = subprocess.run(["bash", "-c", shell, code], timeout=60)
    assert done.returncode == 7
    assert (tmp_path / "study").read_text() == ""
