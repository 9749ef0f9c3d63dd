"""Notices when a study vanishes under a running search: its file or the study within."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from search.common.errors import UserError
from search.study.storages.location import sqlite_file
from search.study.storages.opening import is_storage_error, readable_errors

if TYPE_CHECKING:
    from collections.abc import Callable


class Vanishing:
    """Watches over a study; a file's identity counts, as SQLite goes on writing to a deleted one.

    Args:
        storage: A URL or the path of an SQLite file.
        study: The study's name.
        find: The number that the storage has for it now; raises KeyError where it is not there. One
            that was renamed in the dashboard is a copy with another number.
    """

    def __init__(self, storage: str, study: str, find: Callable[[], int]) -> None:
        self._storage = storage
        self._study = study
        self._find = find
        self._path = sqlite_file(storage)
        self._number = find()
        self._identity = self._look()

    def _look(self) -> int | None:
        try:
            return self._path.stat().st_ino if self._path else None
        except OSError:
            return None

    def check(self) -> None:
        """Look again.

        Raises:
            UserError: If it is not there any more, or cannot be read.
        """
        if self._look() != self._identity:
            raise UserError(
                f"the study {self._path} was deleted or replaced while the search ran",
                "Put it back, or run the command again to begin a new one",
            )
        with readable_errors(self._storage):
            try:
                number = self._find()
            except KeyError:
                raise UserError(
                    f"the study {self._study!r} was deleted or renamed while the search ran",
                    "Run the command again to begin a new one",
                ) from None
        if number != self._number:
            raise UserError(
                f"the study {self._study!r} was replaced while the search ran, for another space "
                "for instance",
                "Run the command again to go on with the new one",
            )

    @contextmanager
    def said(self) -> Iterator[None]:
        """Use the study within; what is missing because it vanished is told as such.

        Raises:
            UserError: As ``check`` does, or if it cannot be read or written.
        """
        try:
            yield
        except Exception as error:
            if isinstance(error, KeyError):
                self.check()
            if not is_storage_error(error):
                raise
            with readable_errors(self._storage):
                raise
