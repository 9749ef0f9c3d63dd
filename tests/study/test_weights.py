"""Kept weights: the same tensors come back, and only for the trial that left them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from search.engine.tensors import FlatTensors, tensors_of
from search.engine.weights import load_weights, save_weights, weights_file, weights_folder


def test_they_lie_beside_an_sqlite_file_and_nowhere_for_a_server(tmp_path: Path) -> None:
    assert weights_folder(str(tmp_path / "a.db")) == tmp_path / "a.db.weights"
    assert weights_folder("postgresql+psycopg://user@host/db") is None


def test_a_network_whose_tensors_are_views_comes_back_small_and_equal(tmp_path: Path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 10))
    network = network.to(memory_format=torch.channels_last)
    assert isinstance(tensors_of(network), FlatTensors)
    file = weights_file(tmp_path / "w", "study", 3, "{}", 7)
    file.path.parent.mkdir()
    file.path.with_name(f"{file.path.name}.ab_12345").touch()
    file.path.with_name("study-30.pt").touch()
    assert save_weights(file, network.state_dict())
    found = load_weights(file)
    assert found is not None
    assert found.keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert torch.equal(found[name], tensor)
        assert found[name].is_contiguous()
    assert file.path.stat().st_size < 6_000
    assert len(list(file.path.parent.iterdir())) == 2  # this one and the other trial's


def test_another_study_candidate_or_seed_has_another_file_or_none(tmp_path: Path) -> None:
    file = weights_file(tmp_path, "study", 3, "{}", 7)
    save_weights(file, {"a": torch.ones(2)})
    assert load_weights(weights_file(tmp_path, "study", 3, "{}", 7)) is not None
    for other in (
        weights_file(tmp_path, "other", 3, "{}", 7),
        weights_file(tmp_path, "study", 4, "{}", 7),
        weights_file(tmp_path, "study", 3, "[]", 7),
        weights_file(tmp_path, "study", 3, "{}", 8),
    ):
        assert load_weights(other) is None
    file.path.write_bytes(file.path.read_bytes()[:-1])
    assert load_weights(file) is None
