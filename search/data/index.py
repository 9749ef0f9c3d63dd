"""What a data source's files decoded to, so that what is unchanged is not decoded again.

An entry is found by the paths, sizes and times of the files, and holds what `sources` needs to
describe the data; the arrays that it names are verified by their digests at every start. Files that
were written a moment ago are not entered: a later change may leave their times as they are.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from search.common.errors import UserError
from search.data import cache
from search.data.dataset import DataSource
from search.data.origin import Origin

VERSION = 1  # of what decoding and arranging give for the same files
SETTLED = 2.0  # seconds after which a file's time tells a later change
FIELDS = ("name", "description", "fingerprint", "split", "train_images", "validation_images")
LISTS = ("mean", "std", "input_shape", "class_names", "class_images")


class State:
    """The files of a data source as they are now.

    Args:
        origin: Of what.

    Raises:
        UserError: If one cannot be found any more.
    """

    def __init__(self, origin: Origin) -> None:
        now = time.time()
        digest = hashlib.sha256(f"{VERSION} {origin!r}".encode("utf-8", "surrogateescape"))
        self.settled = True
        for file in origin.files():
            try:
                found = file.stat()
            except OSError as error:
                raise UserError(
                    f"{file} cannot be read ({error.strerror or error})",
                    "Make this file readable, or name other data",
                ) from None
            digest.update(os.fsencode(file) + f"\0{found.st_size} {found.st_mtime_ns}\0".encode())
            self.settled &= found.st_mtime < now - SETTLED
        self.file = cache.cache_directory() / "index" / f"{digest.hexdigest()[:32]}.json"


def remember(state: State, source: DataSource, digests: Mapping[str, str]) -> None:
    """Enter what some files decoded to; what cannot be written is done again the next time."""
    if not state.settled:
        return
    values = {name: getattr(source, name) for name in (*FIELDS, *LISTS)}
    temporary = state.file.with_name(f".{uuid.uuid4().hex}.tmp")
    with suppress(OSError):
        cache.make(state.file.parent)
        temporary.write_text(json.dumps({"source": values, "digests": dict(digests)}))
        os.replace(temporary, state.file)
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def recall(state: State, origin: Origin) -> DataSource | None:
    """The data that files decoded to, with arrays that are verified; None: decode them."""
    try:
        entry: dict[str, Any] = json.loads(state.file.read_text())
        values, digests = entry["source"], entry["digests"]
        folder = folder_of(values["fingerprint"])
        fields: dict[str, Any] = {name: values[name] for name in FIELDS}
        fields |= {name: tuple(values[name]) for name in LISTS}
        source = DataSource(folder=folder, origin=origin, **fields)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    if not state.settled or cache.problem(folder, digests) is not None:
        return None
    return source


def folder_of(fingerprint: str) -> Path:
    """Where the arrays of a fingerprint are cached."""
    return cache.cache_directory() / f"data-{fingerprint[:32]}"
