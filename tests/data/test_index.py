"""What is unchanged is not decoded again, and nothing that changed is taken for what it was."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from search.data import index
from search.data.dataset import DataSource
from search.data.sources import locate
from tests.helpers.data.idx_files import some_labels, write_dataset, write_idx

LABELS = "train-labels-idx1-ubyte"


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))
    folder = write_dataset(tmp_path / "data")
    for file in folder.iterdir():
        date(file, hours_ago=2)
    return folder


def date(file: Path, *, hours_ago: float) -> None:
    os.utime(file, (time.time() - 3600 * hours_ago,) * 2)


def located(data: Path) -> tuple[DataSource, int]:
    """The source, and how often it was decoded."""
    said: list[str] = []
    source = locate(data, say=said.append)
    return source, sum(line.startswith("decoding") for line in said)


def test_what_is_unchanged_is_decoded_once(data: Path) -> None:
    first, decoded = located(data)
    assert decoded == 1
    assert located(data) == (first, 0)


def test_what_was_written_a_moment_ago_is_read_again(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Within a tick of the clock a second change leaves the file's time as it is."""
    monkeypatch.setattr(index, "SETTLED", 3600.0 * 3)
    assert [located(data)[1] for _ in range(2)] == [1, 1]


def test_a_changed_file_is_noticed(data: Path) -> None:
    first, _ = located(data)
    write_idx(data / LABELS, some_labels(120)[::-1].copy())  # as long as it was
    date(data / LABELS, hours_ago=1)
    again, decoded = located(data)
    assert decoded == 1 and again.fingerprint != first.fingerprint


def test_the_same_data_elsewhere_have_one_fingerprint(tmp_path: Path, data: Path) -> None:
    first, _ = located(data)
    shutil.copytree(data, tmp_path / "copy")
    again, decoded = located(tmp_path / "copy")
    assert (decoded, again.name) == (1, "copy")
    assert replace(again, name="data", description="", origin=None) == replace(
        first, description="", origin=None
    )


@pytest.mark.parametrize("harm", ["arrays", "no entry", "garbage", "other fields"])
def test_a_damaged_cache_is_decoded_anew(tmp_path: Path, data: Path, harm: str) -> None:
    first, _ = located(data)
    (entry,) = (tmp_path / "cache" / "index").glob("*.json")
    if harm == "arrays":
        np.save(first.folder / "train_labels.npy", some_labels(120)[::-1])
    elif harm == "no entry":
        entry.unlink()
    else:
        entry.write_text("[" if harm == "garbage" else '{"source": {"name": 3}, "digests": []}')
    assert located(data) == (first, 1)
    assert located(data) == (first, 0)
