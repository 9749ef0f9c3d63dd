"""The final weights of a trial, kept in a small file beside the study.

A network of 20,000 parameters takes 90 KB: a study of 1,000 complete trials at most 90 MB.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from search.study.attributes import CANDIDATE, SEED
from search.study.storages.beside import WEIGHTS, folder_beside
from search.study.trial_files import TrialFiles

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial
    from torch import Tensor, nn

    from search.study.judge import Task


def weights_files(storage: str, study: str) -> TrialFiles:
    """The networks of a study's trials; of a study on a database server none are kept."""
    return TrialFiles(folder_beside(storage, WEIGHTS), study)


def pack_weights(model: nn.Module, task: Task) -> bytes:
    """The state of the network that a task ended with."""
    import torch

    from search.training.checkpoint import pack

    kept = {  # cloned: a view would be written with all that it is a view of
        name: value.detach().cpu().clone(memory_format=torch.contiguous_format)
        if isinstance(value, torch.Tensor)
        else value
        for name, value in model.state_dict().items()
    }
    return pack(_identity(task.candidate, task.seed), {"weights": kept})


def unpack_weights(packed: bytes | None, trial: FrozenTrial) -> dict[str, Tensor] | None:
    """A network's state, or None where there is none, it is damaged or not of this trial.

    A study that was deleted and begun again has the same name and numbers.
    """
    from search.training.checkpoint import unpack

    identity = _identity(CANDIDATE.of(trial), SEED.of(trial))
    content = unpack(packed, identity)
    return None if content is None else content.get("weights")


def _identity(candidate: str | None, seed: int | None) -> str:
    return json.dumps(["weights", candidate, seed])
