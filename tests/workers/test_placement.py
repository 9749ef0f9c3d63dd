"""Where workers go: what is refused before anything starts; a plain search knows no Ray."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from search.common.errors import UserError
from search.run import main
from search.workers.ray.addresses import check_answers

SERVER = "postgresql+psycopg://me:hunter2@db.example/trials"


def refused(arguments: list[str]) -> str:
    """The one line that a command prints as it ends with exit code 2."""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, str(root / "search/run.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    return line


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port on which something listens that never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("127.0.0.1:9", "no Ray cluster answers at 127.0.0.1:9 (Connection refused)"),
        ("ray://127.0.0.1:10001", "is not the address of a Ray cluster"),
        ("somewhere", "is not the address of a Ray cluster"),
    ],
)
def test_an_address_where_nothing_is_costs_a_line(address: str, why: str) -> None:
    with pytest.raises(UserError) as caught:
        check_answers(address)
    assert why in str(caught.value)


@pytest.mark.processes
def test_a_server_that_cannot_be_reached_is_said_before_ray_is_asked() -> None:
    line = refused(["--cluster", "127.0.0.1:9", "--storage", SERVER])
    assert "postgresql+psycopg://me:***@db.example/trials cannot be used" in line
    assert "hunter2" not in line


@pytest.mark.processes
def test_what_listens_but_is_no_ray_is_given_up_soon(silent_port: int) -> None:
    with pytest.raises(UserError, match="is not the head of a Ray cluster"):
        check_answers(f"127.0.0.1:{silent_port}")


def test_the_cluster_that_the_environment_names_is_asked_likewise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:9")
    with pytest.raises(UserError, match="no Ray cluster answers at 127.0.0.1:9"):
        main(["--cluster", "auto", "--storage", str(tmp_path / "a.db")])


def test_without_ray_a_line_says_how_to_install_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)  # what an import of a missing module finds
    with pytest.raises(UserError) as caught:
        main(["--cluster", "local", "--storage", str(tmp_path / "a.db")])
    assert str(caught.value) == (
        "--cluster needs Ray, which is not installed. "
        "Install it: pip install -r requirements-cluster.txt."
    )


REFUSE = """
import sys

class Refuse:
    def find_spec(self, name, *rest):
        if name == "ray":
            raise SystemExit(name + " was imported")

sys.meta_path.insert(0, Refuse())
"""


@pytest.mark.processes
def test_a_search_on_this_machine_never_imports_ray(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "path").mkdir()
    (tmp_path / "path" / "sitecustomize.py").write_text(REFUSE)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "path")}
    refused = subprocess.run(
        [sys.executable, "-c", "import ray"], capture_output=True, text=True, env=environment
    )
    assert "ray was imported" in refused.stderr
    done = subprocess.run(
        [*command, "--trials", "2", "--workers", "1", "--train-images", "200"],
        capture_output=True,
        text=True,
        env=environment,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "was imported" not in done.stdout + done.stderr
