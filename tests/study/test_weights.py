"""Kept weights: the same tensors come back, and only for the trial that left them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import optuna
import torch
from optuna.trial import FrozenTrial
from torch import nn

from search.study.judge import Task
from search.study.weights import pack_weights, unpack_weights, weights_files
from search.training.tensors import FlatTensors, tensors_of

TASK = Task(number=3, seed=7, candidate='{"params": {"width": 4}}')


def trial(task: Task = TASK) -> FrozenTrial:
    """As a study holds it."""
    attributes = {"seed": task.seed, "candidate": task.candidate}
    return optuna.trial.create_trial(value=0.5, user_attrs=attributes)


def test_they_lie_beside_an_sqlite_file_and_nowhere_for_a_server(tmp_path: Path) -> None:
    assert weights_files(str(tmp_path / "a.db"), "s").folder == tmp_path / "a.db.weights"
    assert weights_files("postgresql+psycopg://user@host/db", "s").folder is None


def test_a_network_whose_tensors_are_views_comes_back_small_and_equal() -> None:
    network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(4, 10))
    network = network.to(memory_format=torch.channels_last)
    assert isinstance(tensors_of(network), FlatTensors)
    packed = pack_weights(network, TASK)
    found = unpack_weights(packed, trial())
    assert found is not None
    assert found.keys() == network.state_dict().keys()
    for name, tensor in network.state_dict().items():
        assert torch.equal(found[name], tensor)
        assert found[name].is_contiguous()
    assert len(packed) < 6_000


def test_those_of_another_candidate_or_seed_are_not_used() -> None:
    packed = pack_weights(nn.Linear(2, 2), TASK)
    assert unpack_weights(packed, trial()) is not None
    for other in (
        replace(TASK, candidate="{}"),
        replace(TASK, seed=8),
    ):
        assert unpack_weights(packed, trial(other)) is None
    assert unpack_weights(packed[:-1], trial()) is None
    assert unpack_weights(None, trial()) is None


class Counting(nn.Linear):
    """With a state beside its tensors, by torch's own interface."""

    steps = 0

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]


def test_a_state_that_is_no_tensor_comes_back_too() -> None:
    network = Counting(2, 2)
    network.steps = 7
    found = unpack_weights(pack_weights(network, TASK), trial())
    assert found is not None
    again = Counting(2, 2)
    again.load_state_dict(found)
    assert again.steps == 7
