"""Numbers of the command line: one rule of writing, a floor and a ceiling that are said."""

from __future__ import annotations

import argparse
import importlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from search import dashboard
from search.common.errors import UserError
from search.console.arguments import LARGEST, Parser, some_name, whole
from search.study.storages.opening import create_study

# Every numeric option of every command, with its floor and its ceiling.
NUMBERS = [
    ("run", "--trials", 1, 1_000_000),
    ("run", "--epochs", 1, 100_000),
    ("run", "--workers", 1, 4_096),
    ("run", "--max-params", 1, LARGEST),
    ("run", "--max-macs", 1, LARGEST),
    ("run", "--seed", 0, LARGEST),
    ("run", "--train-images", 1, LARGEST),
    ("finalists", "--top", 1, 1_000),
    ("finalists", "--seeds", 1, 1_000),
    ("finalists", "--shortlist", 0, 1_000),
    ("finalists", "--shortlist-seeds", 1, 1_000),
    ("finalists", "--reference-seeds", 1, 1_000),
    ("finalists", "--workers", 1, 256),
    ("report", "--top", 1, 1_000_000),
    ("export", "--rank", 1, LARGEST),
    ("export", "--trial", 0, LARGEST),
    ("reproduce", "", 0, LARGEST),
    ("dashboard", "--port", 1, 65_535),
]
REFUSED = (
    *("", " 5", "5 ", "+5", "-5", "-0", "0x10", "1e3", "1.0", "nan", "inf", "５", "²", "1__000"),
    *("_1", "1_", "1_0", "1,5", "1_000,000", "1,000_000", "0_000_", "9" * 5_000, "1\n", "five"),
)


def parsed(command: str, option: str, text: str) -> object:
    arguments = [f"{option}={text}"] if option else [text]
    options = importlib.import_module(f"search.{command}").parse(arguments)
    return getattr(options, option.strip("-").replace("-", "_") or "trial")


@pytest.mark.parametrize(("command", "option", "low", "high"), NUMBERS)
def test_every_number_has_ends_and_says_them(
    command: str, option: str, low: int, high: int, capsys: pytest.CaptureFixture[str]
) -> None:
    for value in (low, high, max(low, 1)):
        assert parsed(command, option, str(value)) == value
    assert parsed(command, option, f"{high:,}") == parsed(command, option, f"{high:_}") == high
    for text in (str(low - 1), str(high + 1), *REFUSED):
        if not option and text.startswith("-"):
            continue  # an option that there is not
        with pytest.raises(SystemExit) as ended:
            parsed(command, option, text)
        assert ended.value.code == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1 and len(said) < 300, said
        assert f"from {low} to {high:,}" in said, said


def test_auto_is_a_number_of_workers_only() -> None:
    assert parsed("run", "--workers", "auto") is None
    with pytest.raises(argparse.ArgumentTypeError, match="from 1 to 9 or auto is needed"):
        whole(1, 9, or_auto=True)("AUTO")


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


@pytest.mark.parametrize("host", ["127.0.0.1", "no.such.host.invalid", "a" * 70, "::zz", "a b"])
def test_an_address_that_cannot_be_used_is_one_line_and_makes_nothing(
    tmp_path: Path, taken: int, host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    create_study(str(tmp_path / "study.db"), "cnn-search")
    before = set(tmp_path.iterdir())
    storage = ["--storage", str(tmp_path / "study.db")]
    with pytest.raises(UserError, match="cannot be used: .*Choose another --host or --port"):
        dashboard.main([*storage, "--host", host, "--port", str(taken)])
    assert capsys.readouterr().out == ""
    assert {path for path in tmp_path.iterdir() if "-" not in path.name} <= before


def test_an_empty_address_is_not_every_address(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        dashboard.parse(["--host", ""])
    assert "an address is needed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--trails", "3"], "there is no option --trails (did you mean --trials?)"),
        (["--tri", "3"], "there is no option --tri"),
        (["--storage=a.db", "--zzz=1"], "there is no option --zzz."),
    ],
)
def test_an_option_that_there_is_not_is_named_with_what_is_like_it(
    given: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = Parser(prog="x.py")
    parser.add_argument("--trials")
    parser.add_argument("--storage")
    parser.add_argument("number", type=int)
    with pytest.raises(SystemExit) as ended:
        parser.parse_args(given)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_a_study_has_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    parser = Parser(prog="x.py")
    parser.add_argument("--study", type=some_name)
    for given in ("", "  "):
        with pytest.raises(SystemExit):
            parser.parse_args(["--study", given])
        assert f"a name is needed, but got {given!r}" in capsys.readouterr().err
    assert parser.parse_args(["--study", "mine"]).study == "mine"
