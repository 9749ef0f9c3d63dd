"""Starts a real PostgreSQL server in a temporary directory, for tests and benchmarks."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

START_SECONDS = 60.0
USER = "searcher"


def programs() -> Path | None:
    """Where the server's programs are: on the path, or where Debian's package puts them."""
    found = shutil.which("postgres")
    if found and shutil.which("initdb"):
        return Path(found).resolve().parent
    versions = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    return max(versions, key=lambda path: int(path.parent.name.split(".")[0]), default=None)


class PostgresServer:
    """A server on a free port of the loopback address, with a password; ended by ``close``.

    It refuses to run as root: root starts it as ``postgres`` or, without that, ``nobody``.

    Args:
        settings: More of the server's, such as ``fsync=off``.
    """

    def __init__(self, *settings: str) -> None:
        found = programs()
        assert found is not None, "PostgreSQL is not installed"
        self._programs = found
        self._settings = settings
        self._as: dict[str, Any] = _unprivileged()
        self.password = secrets.token_hex(12)
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))
        if self._as:
            shutil.chown(self._folder, self._as["user"])
        try:
            self._initialise()
            self.start()
        except BaseException:
            self.close()
            raise

    def url(self, name: str = "postgres", password: str | None = None) -> str:
        """The URL of a database of this server."""
        password = self.password if password is None else password
        return f"postgresql+psycopg://{USER}:{password}@127.0.0.1:{self.port}/{name}"

    def _initialise(self) -> None:
        secret = self._folder / "password"
        secret.write_text(self.password)
        secret.chmod(0o644)
        command = [str(self._programs / "initdb"), "--pgdata", str(self._folder / "data")]
        command += ["--username", USER, "--auth", "scram-sha-256", "--pwfile", str(secret)]
        command += ["--encoding", "UTF8", "--locale", "C", "--no-sync"]
        subprocess.run(command, check=True, capture_output=True, cwd=self._folder, **self._as)
        secret.unlink()

    def start(self) -> None:
        """Start on the same port; returns when connections are taken."""
        command = [str(self._programs / "postgres"), "-D", str(self._folder / "data")]
        command += ["-h", "127.0.0.1", "-p", str(self.port), "-k", ""]
        for setting in self._settings:
            command += ["-c", setting]
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command, stdout=log, stderr=log, cwd=self._folder, **self._as
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            assert self._process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def _ready(self) -> bool:
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(self.url().replace("+psycopg", ""), autocommit=True)

    def stop(self) -> None:
        """Stop at once: clients lose their connections, committed data stays."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait(START_SECONDS)
            self._process = None

    def log(self) -> str:
        """What the server wrote."""
        return (self._folder / "log").read_text(errors="replace")

    def close(self) -> None:
        """Stop and delete everything."""
        self.stop()
        shutil.rmtree(self._folder, ignore_errors=True)

    def create(self, name: str) -> str:
        """Create a database; returns its URL."""
        with self._connect() as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.url(name)


def free_port() -> int:
    """A port of the loopback address that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _unprivileged() -> dict[str, Any]:
    """How a subprocess is started as somebody else where we are root."""
    import pwd

    if os.geteuid() != 0:
        return {}
    names = {entry.pw_name: entry for entry in pwd.getpwall()}
    chosen = names.get("postgres") or names["nobody"]
    return {"user": chosen.pw_name, "group": chosen.pw_gid, "extra_groups": []}
