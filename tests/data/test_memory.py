"""A set that does not fit into memory is refused with the sum, before it is decoded."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from search.common.errors import UserError
from search.data import memory
from search.data.sources import locate
from search.data.testset import load_test
from tests.helpers.data.idx_files import write_dataset


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "cache"))


def test_there_is_memory_here_and_not_more_than_the_machine_has() -> None:
    import psutil

    assert 2**26 < memory.available() <= psutil.virtual_memory().total


def test_the_sum_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available", lambda: 1_000)
    memory.require(500, 2, "two")
    with pytest.raises(UserError) as raised:
        memory.require(501, 2, "all images", "Give fewer --workers. ")
    assert "all images take 1,002 bytes (501 bytes 2 times), but only 1,000 bytes" in str(
        raised.value
    )
    assert "--workers" in str(raised.value) and "--image-size" in str(raised.value)


def test_a_set_is_refused_by_its_header_and_so_are_many_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = write_dataset(tmp_path / "data")
    monkeypatch.setattr(memory, "available", lambda: 120 * (784 + 8) * 3)
    source = locate(data, workers=3, say=lambda line: None)
    for known in (True, False):  # also where it is decoded already
        with pytest.raises(UserError, match="in each of 4 workers.*--workers"):
            locate(data, workers=4, say=lambda line: None)
        if known:
            monkeypatch.setenv("CNN_SEARCH_CACHE", str(tmp_path / "other"))
    monkeypatch.setattr(memory, "available", lambda: 1_000)
    with pytest.raises(UserError, match="the 30 test images of data take"):
        load_test(source)
    images = data / "train-images-idx3-ubyte"
    header = bytes((0, 0, 8, 3)) + np.array([10**9, 28, 28], ">u4").tobytes()
    images.write_bytes(header)  # nothing behind it: nobody looks
    with pytest.raises(UserError, match="the 1,000,000,000 training images of data"):
        locate(data, say=lambda line: None)


def test_a_limit_of_a_control_group_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 5\ninactive_file 50\n")
    assert memory._left(tmp_path, "memory.max", "memory.current") == 150
    (tmp_path / "memory.max").write_text("max\n")
    assert memory._left(tmp_path, "memory.max", "memory.current") is None
    assert memory._left(tmp_path / "none", "memory.max", "memory.current") is None
