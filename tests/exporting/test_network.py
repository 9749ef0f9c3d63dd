"""The network of an export is the one that the trial ended with, whatever it holds."""

from __future__ import annotations

from pathlib import Path

import optuna
import torch
from torch import Tensor, nn

from search.candidates.candidate import Candidate
from search.common.seeds import mix_seed, seed_all
from search.exporting.network import kept_network
from search.finals.repeating import recorded
from search.study.judge import Task
from search.study.storages.opening import create_study
from search.study.weights import pack_weights, weights_files
from search.training.recipe import Recipe

TASK = Task(number=0, seed=7, candidate='{"params": {}}')


class Projecting(nn.Module):
    """Random constants, of which a state_dict holds none."""

    buffer: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("buffer", torch.randn(4, 4), persistent=False)
        self.constant = torch.randn(4, 4)
        self.last = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.last(x @ self.buffer @ self.constant)
        return logits


def test_random_constants_are_those_of_the_training(tmp_path: Path) -> None:
    storage = str(tmp_path / "a.db")
    study = create_study(storage, "s")
    attributes = {"seed": TASK.seed, "candidate": TASK.candidate}
    study.add_trial(
        optuna.trial.create_trial(value=0.5, user_attrs=attributes, intermediate_values={1: 0.5})
    )
    seed_all(mix_seed(TASK.seed, "weights"))
    trained = Projecting()
    trained.last.weight.data += 1
    weights_files(storage, "s").write(0, pack_weights(trained, TASK))
    candidate = Candidate(build=Projecting, recipe=Recipe(), name="projecting")
    found = kept_network(study, recorded(study, 0), candidate, storage)
    assert found is not None
    x = torch.ones(3, 4)
    assert torch.equal(found(x), trained(x))
