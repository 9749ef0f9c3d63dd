"""A trial's state after its last finished epoch, kept until the trial ends."""

from __future__ import annotations

import hashlib
import io
import os
import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

HALF_WRITTEN = r"(?:\.[a-z0-9_]{8})?"  # what tempfile.mkstemp adds to a name
DIGEST = hashlib.sha256().digest_size  # bytes before the state


def checkpoint_path(folder: Path, study: str, number: int) -> Path:
    """A trial's file in its storage's folder; a study's name may hold anything."""
    return folder / f"{hashlib.sha256(study.encode()).hexdigest()[:12]}-{number}.pt"


def sweep(folder: Path, study: str, living: set[int]) -> None:
    """Delete what trials left that neither run nor wait: those that someone else has ended.

    Args:
        folder: Need not be there.
        study: Its name; the files of others are left.
        living: Numbers of the trials that may still go on.
    """
    first = checkpoint_path(folder, study, 0).name.removesuffix("0.pt")
    named = re.compile(rf"{first}(\d+)\.pt{HALF_WRITTEN}")
    for file in list(folder.glob(f"{first}*")):
        match = named.fullmatch(file.name)
        if match and int(match[1]) not in living:
            Checkpoint(path=checkpoint_path(folder, study, int(match[1])), identity="").remove()


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """A file that holds one training's state, or none.

    Args:
        path: Its directory is made when the first state is saved.
        identity: What the training is; a file of another one is not used.
    """

    path: Path
    identity: str

    def save(self, state: dict[str, Any]) -> bool:
        """Replace the file by a state of tensors and plain values, at once or not at all.

        Returns:
            Whether it could be written: a full disk costs the checkpoint, not the trial.
        """
        buffer = io.BytesIO()
        torch.save({"identity": self.identity, "state": state}, buffer)
        content = buffer.getvalue()
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=f"{self.path.name}.")
        except OSError:
            return False
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(content).digest() + content)
                file.flush()
                os.fsync(file.fileno())
            os.replace(name, self.path)
        except OSError:
            Path(name).unlink(missing_ok=True)
            return False
        return True

    def load(self) -> dict[str, Any] | None:
        """The state, or None where there is none, it is damaged or of another training."""
        try:
            content = self.path.read_bytes()
        except OSError:
            return None
        if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
            return None
        try:
            found = torch.load(io.BytesIO(content[DIGEST:]), weights_only=True)
        except Exception:  # a whole file of another kind or version; the trial then starts over
            return None
        if not isinstance(found, dict) or found.get("identity") != self.identity:
            return None
        state = found.get("state")
        return state if isinstance(state, dict) else None

    def remove_half_written(self) -> None:
        """Delete what a save left whose process was killed; a user's own files are left alone."""
        named = re.compile(re.escape(self.path.name) + HALF_WRITTEN)
        for file in list(self.path.parent.glob(f"{self.path.name}.*")):
            if named.fullmatch(file.name) and not file.is_dir():
                file.unlink(missing_ok=True)

    def remove(self) -> None:
        """Delete the file and what an interrupted save left; the directory too when empty."""
        self.remove_half_written()
        try:
            self.path.unlink(missing_ok=True)
            self.path.parent.rmdir()
        except OSError:  # other trials' files, or it was never made
            return
