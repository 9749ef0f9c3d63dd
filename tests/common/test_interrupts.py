"""Ctrl-C: what is begun is finished first, and it is never lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from search.common.interrupts import uninterrupted
from search.study.storages.opening import open_study

pytestmark = pytest.mark.processes

ROOT = Path(__file__).parents[2]
COMMANDS = ("run", "finalists", "report", "export", "reproduce", "dashboard")


def test_what_is_begun_is_finished_before_it_ends() -> None:
    done = []
    with pytest.raises(KeyboardInterrupt), uninterrupted():
        signal.raise_signal(signal.SIGINT)
        done.append(1)
    assert done == [1]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize("name", COMMANDS)
def test_while_a_command_still_imports_there_is_no_traceback(name: str) -> None:
    """It comes as soon as Python has imported the first module that the command asks for."""
    process = subprocess.Popen(
        [sys.executable, "-X", "importtime", str(ROOT / "search" / f"{name}.py"), "--help"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    for line in process.stderr:
        if line.split("|")[-1].strip() == "gettext":  # the last that argparse imports
            break
    process.send_signal(signal.SIGINT)
    rest = process.stderr.read()
    assert process.wait(60) in (-signal.SIGINT, 128 + signal.SIGINT)
    assert [line for line in rest.splitlines() if not line.startswith("import time:")] == []


def test_where_python_can_raise_nothing_it_still_ends_the_command() -> None:
    code = (
        "from search.console.arguments import run_command\n"
        "class Interrupted:\n"
        "    def __del__(self): raise KeyboardInterrupt\n"
        "def main():\n"
        "    Interrupted()\n"
        "    return 0\n"
        "run_command(main)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_a_new_study_is_whole_or_not_there(command: list[str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    while not (tmp_path / "study.db").exists():
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[1] == ""
    assert process.returncode == 128 + signal.SIGINT
    study = open_study(str(tmp_path / "study.db"))
    assert "settings" in study.user_attrs
    assert [trial.state.name for trial in study.trials] == ["WAITING"]
