"""Command lines to copy: what a shell makes of them is what was meant."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from search import run
from search.common.command_lines import FOLDER, command_line
from search.common.errors import UserError
from search.console.arguments import changed
from search.study.storages.opening import DEFAULT_STORAGE, open_study

NAMES = ["a  b", "it's", '"$HOME"', "-x", "*", "two\nlines", "\x1b[2J", "ü", "back\\slash\n"]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.processes
def test_a_shell_reads_the_names_that_were_given(name: str) -> None:
    line = command_line("run.py", storage=name, candidate=["x y", "z"], compile=True, data=None)
    script = 'shift; printf "%s\\0" "$@"'
    code = f"printer() {{ {script}; }}; printer {line.removeprefix('python ')}"
    done = subprocess.run(["bash", "-c", code], capture_output=True, timeout=20)
    words = done.stdout.decode().split("\0")[:-1]
    named = [f"--storage={name}"] if name.startswith("-") else ["--storage", name]
    assert words == [*named, "--candidate", "x y", "z", "--compile"]
    assert line.isprintable()


def test_every_option_that_was_given_is_in_the_line() -> None:
    arguments = [
        *("--trials", "7", "--epochs", "2", "--workers", "3", "--stack", "2"),
        *("--cluster", "local"),
        *("--candidate", "a.json", "b.json", "--references", "--max-params", "5000"),
        *("--max-macs", "9", "--max-ram", "8", "--max-flash", "7"),
        *("--seed", "4", "--sampler", "random", "--pruner", "none"),
        *("--device", "cpu", "--precision", "float32", "--compile", "--data", "d e"),
        *("--train-images", "100", "--storage", "s.db", "--study", "x", "--continue-anyway"),
        *("--reports", "r", "--target", "98.5", "--space", "my space.py"),
        *("--image-size", "48x64", "--hours", "0.5", "--stop-after-stall", "9"),
        *("--target-reached", "--from", "a.db", "b.db::c", "--log-to", "mlflow", "tensorboard"),
    ]
    given, defaults = run.parse(arguments), run.parse([])
    assert all(value != getattr(defaults, name) for name, value in vars(given).items())
    line = command_line("run.py", **changed(given, defaults))
    assert vars(run.parse(shlex.split(line)[2:])) == vars(given)
    assert command_line("run.py", **changed(defaults, defaults)) == "python search/run.py"


def test_a_password_is_left_out_and_that_is_said() -> None:
    url = "postgresql+psycopg://me:s3cret@host/db?sslpassword=s3cret2"
    line = command_line("run.py", storage=url, trials=4)
    assert "s3cret" not in line
    assert "me:***@host/db" in line
    assert line.endswith("(with the password for ***)")


def test_it_is_called_as_the_running_one_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(sys, "argv", [str(FOLDER / "report.py"), "--reports", "x"])
    monkeypatch.setattr(sys, "orig_argv", ["../my python", "-u", *sys.argv])
    monkeypatch.chdir(FOLDER.parent)
    assert command_line("run.py") == "'../my python' search/run.py"
    monkeypatch.chdir(tmp_path)
    assert command_line("run.py") == f"'../my python' {FOLDER / 'run.py'}"


def test_where_there_is_no_study_the_line_makes_that_one(tmp_path: Path) -> None:
    path = tmp_path / "a b.db"
    with pytest.raises(UserError) as error:
        open_study(str(path), "mine")
    assert f"Run python search/run.py --storage '{path}' --study mine first." in str(error.value)
    if not Path(DEFAULT_STORAGE).exists():
        with pytest.raises(UserError, match=r"Run python search/run.py first\.$"):
            open_study(DEFAULT_STORAGE)
