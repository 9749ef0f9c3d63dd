"""Mirrors over real sockets of this machine: the time limit, the order, what is refused."""

from __future__ import annotations

import functools
import http.server
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from search.data.formats import idx
from search.data.mnist import FetchError, download, from_mirrors
from tests.helpers.data.idx_files import some_images, some_labels, write_dataset

pytestmark = pytest.mark.processes

NAMES = [stem.format("-") + ".gz" for stem in idx.STEMS.values()]


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def mirror(folder: Path) -> Iterator[str]:
    """An HTTP server for the files of `folder`."""
    handler = functools.partial(_Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def silent_server(trickle: bytes = b"") -> Iterator[str]:
    """Accepts a connection and does not finish its answer; sends `trickle` over and over."""
    over = threading.Event()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            with connection:
                connection.sendall(b"HTTP/1.0 200 OK\r\n\r\n" if trickle else b"")
                end = time.monotonic() + 6.0  # so that a client without a limit fails, not hangs
                while not over.wait(0.05) and time.monotonic() < end:
                    connection.sendall(trickle)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.getsockname()[1]}/"
        finally:
            over.set()
            thread.join(timeout=5)


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr("urllib.request._opener", None)  # it keeps the proxies of its first use


def closed_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"http://127.0.0.1:{server.getsockname()[1]}/"


def test_a_mirror_serves_all_four_files(tmp_path: Path) -> None:
    with mirror(write_dataset(tmp_path, zipped=True)) as url:
        arrays = from_mirrors([url], NAMES)
    np.testing.assert_array_equal(arrays["train_images"], some_images(120))
    np.testing.assert_array_equal(arrays["test_labels"], some_labels(30))


@pytest.mark.parametrize("trickle", [b"", b"x"])
def test_a_mirror_that_hangs_or_trickles_is_left_in_time(tmp_path: Path, trickle: bytes) -> None:
    with mirror(write_dataset(tmp_path, zipped=True)) as good, silent_server(trickle) as bad:
        start = time.monotonic()
        arrays = from_mirrors([bad, good], NAMES, first_seconds=0.5)
        assert time.monotonic() - start < 3
    assert len(arrays["train_images"]) == 120


def test_the_next_mirror_serves_what_one_refuses(tmp_path: Path) -> None:
    write_dataset(tmp_path / "good", zipped=True)
    write_dataset(tmp_path / "html", zipped=True)
    (tmp_path / "html" / NAMES[0]).write_text("<html>moved</html>")
    (tmp_path / "empty").mkdir()
    with (
        mirror(tmp_path / "html") as html,
        mirror(tmp_path / "empty") as empty,
        mirror(tmp_path / "good") as good,
    ):
        arrays = from_mirrors([closed_port(), empty, html, good], NAMES)
        assert len(arrays["train_images"]) == 120
        with pytest.raises(FetchError) as caught:
            from_mirrors([closed_port(), empty, html], NAMES)
    message = str(caught.value)
    for reason in ("Connection refused", "HTTP Error 404", "a file that is not an IDX file"):
        assert reason in message


def test_a_download_has_a_limit_for_everything() -> None:
    with silent_server(b"x" * 1000) as url:
        start = time.monotonic()
        with pytest.raises(FetchError, match="no answer within 0.3 s"):
            download(url, 0.3)
        assert time.monotonic() - start < 2
