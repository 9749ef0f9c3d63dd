"""Searches simulated from recorded trainings, and the recording of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks import record
from benchmarks.replay import MODELS, read, search

KEPT = Path(__file__).resolve().parents[2] / "benchmarks" / "recorded.jsonl"


@pytest.fixture(scope="module")
def lines() -> list[dict[str, Any]]:
    return [json.loads(line) for line in KEPT.read_text().splitlines()]


def test_what_was_recorded_is_fitted_and_searched(lines: list[dict[str, Any]]) -> None:
    recorded = read(lines)
    assert len(recorded.points) == len({line["candidate"] for line in lines})
    assert recorded.points.min() >= 0 and recorded.points.max() <= 1
    for model in MODELS:
        fresh, says = search((recorded, model, "random", 0, 12))
        assert 0.97 < fresh < 0.995
        assert says != fresh, "there is luck in it"
        assert search((recorded, model, "random", 0, 12)) == (fresh, says)
        assert search((recorded, model, "random", 1, 12)) != (fresh, says)


def test_what_is_recorded_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def beside(do: object, runs: Sequence[record.Run]) -> Iterator[dict[str, Any]]:
        for number, seed, _ in runs:
            trained.append((number, seed))
            yield {"candidate": number, "seed": seed, "ranges": {}}

    keep = tmp_path / "recorded.jsonl"
    monkeypatch.setattr(record, "beside", beside)
    for count in ("1", "2"):
        arguments = ["record.py", "--candidates", count, "--keep", str(keep)]
        monkeypatch.setattr(sys, "argv", arguments)
        assert record.main() == 0
    assert trained == [(0, 0), (0, 1), (1, 0), (1, 1)]
    written = [json.loads(line) for line in keep.read_text().splitlines()]
    assert ["ranges" in line for line in written] == [True, False, False, False]
