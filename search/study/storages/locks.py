"""One process at a time hands out or closes trials; a server that is away is waited for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from search.study.storages.beside import LOCK, beside
from search.study.storages.location import sqlite_file


@contextmanager
def study_lock(storage: str, timeout: float = -1) -> Iterator[bool]:
    """Hold a storage alone while a trial is handed out or closed.

    SQLite cannot lock a row, so two workers could take the same waiting trial, and on no database
    is counting and then starting one step. The lock of a process that dies is released: of an
    SQLite file by the system, among the processes of this machine; by a database server, among
    all. It must not be taken twice by one process.

    Args:
        storage: A URL or the path of an SQLite file.
        timeout: Seconds to wait for another holder; -1 waits as long as it takes.

    Yields:
        Whether the study is held.

    Raises:
        LockLost: If a server's lock was lost with its connection: what was done within is to be
            done again, and may be half done.
    """
    from filelock import FileLock, Timeout

    path = sqlite_file(storage)
    if path is None:
        from search.study.storages.server_lock import server_lock

        with server_lock(storage, timeout) as held:
            yield held
        return
    lock = FileLock(beside(path, LOCK))
    try:
        lock.acquire(timeout=timeout)
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        lock.release()
