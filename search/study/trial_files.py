"""Bytes that belong to a study's trials, a file for each in a folder beside the study."""

from __future__ import annotations

import hashlib
import re
import tempfile
from contextlib import suppress
from pathlib import Path

HALF_WRITTEN = r"(?:\.[a-z0-9_]{8})?"  # what tempfile.mkstemp adds to a name


class TrialFiles:
    """One file a trial. Without a folder they are kept in memory, by this process for itself.

    Args:
        folder: Made when the first file is written; None for a study on a database server.
        study: The study's name, which may hold anything.
    """

    def __init__(self, folder: Path | None, study: str) -> None:
        self.folder = folder
        self._start = f"{hashlib.sha256(study.encode()).hexdigest()[:12]}-"
        self._kept: dict[int, bytes] = {}

    def path(self, number: int) -> Path | None:
        """Where a trial's file is."""
        return self.folder / f"{self._start}{number}.pt" if self.folder else None

    def write(self, number: int, content: bytes) -> bool:
        """Replace a trial's file, at once or not at all.

        Nothing waits for the disk: what a loss of power leaves behind is known by its digest.

        Returns:
            Whether it could be written: a full disk costs the file, not the trial.
        """
        path = self.path(number)
        if path is None:
            self._kept[number] = content
            return True
        half = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(
                dir=path.parent, prefix=f"{path.name}.", delete=False
            ) as file:
                half = Path(file.name)
                file.write(content)
            half.replace(path)
        except OSError:
            if half:
                with suppress(OSError):
                    half.unlink()
            return False
        return True

    def read(self, number: int) -> bytes | None:
        """A trial's bytes, or None where there are none."""
        path = self.path(number)
        try:
            return path.read_bytes() if path else self._kept.get(number)
        except OSError:
            return None

    def remove(self, number: int) -> None:
        """Delete a trial's file and what an interrupted write left; the folder too when empty."""
        self._kept.pop(number, None)
        path = self.path(number)
        if path is None:
            return
        named = re.compile(re.escape(path.name) + HALF_WRITTEN)
        with suppress(OSError):  # others' files, or it was never made
            for file in list(path.parent.glob(f"{path.name}*")):
                if named.fullmatch(file.name) and not file.is_dir():
                    file.unlink(missing_ok=True)
            path.parent.rmdir()

    def sweep(self, ended: set[int]) -> None:
        """Delete what these trials have left; files of other studies are left."""
        if self.folder is None:
            return
        named = re.compile(rf"{self._start}(\d+)\.pt{HALF_WRITTEN}")
        for file in list(self.folder.glob(f"{self._start}*")):
            match = named.fullmatch(file.name)
            if match and int(match[1]) in ended:
                self.remove(int(match[1]))
