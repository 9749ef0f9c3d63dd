"""Puts files into a directory: all of them or none, each in one step."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from pathlib import Path


def put(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write all files aside, then put each into its place: a full disk leaves the old ones whole.

    Args:
        folder: Made if it is not there.
        files: By name, or by a path within the folder; whose they may replace is for the caller to
            know.

    Raises:
        OSError: If they cannot be written.
    """
    aside = {
        name: (folder / name).with_name(f".{Path(name).name}.{os.getpid()}.tmp") for name in files
    }
    folders = sorted({folder, *(path.parent for path in aside.values())})
    missing = [path for path in folders if not path.exists()]
    written: list[Path] = []
    try:
        for path in folders:
            path.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            with aside[name].open("xb") as file:
                written.append(aside[name])
                file.write(content)
        for name, path in aside.items():
            path.replace(folder / name)
    except OSError:
        for path in written:
            path.unlink(missing_ok=True)
        for path in reversed(missing):
            with contextlib.suppress(OSError):
                path.rmdir()
        raise
