"""The network that a trial ended with: as it was kept, or trained again from its seed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from search.common.output import say
from search.common.seeds import mix_seed, seed_all
from search.finals.repeating import repeat
from search.study.weights import unpack_weights, weights_files
from search.training.hardware import resolve_device

if TYPE_CHECKING:
    import optuna
    from torch import nn

    from search.candidates.candidate import AnyCandidate
    from search.finals.repeating import Recorded
    from search.study.settings import Settings
    from search.training.epoch import Epoch


def kept_network(
    study: optuna.Study, trial: Recorded, candidate: AnyCandidate, storage: str
) -> nn.Module | None:
    """The trial's network with the weights that it ended with, or None where they are not kept."""
    packed = weights_files(storage, study.study_name).read(trial.number)
    weights = unpack_weights(packed, study.get_trials(deepcopy=False)[trial.number])
    if weights is None:
        return None
    seed_all(mix_seed(trial.seed, "weights"))  # as in training: not all is in a state_dict
    network = candidate.build()
    network.load_state_dict(weights)
    return network


def trained_network(trial: Recorded, settings: Settings) -> nn.Module:
    """The trial's network, trained again on the device that it names."""
    resolve_device(settings.device)

    def on_epoch(epoch: Epoch) -> None:
        say(f"epoch {epoch.number}: {epoch.accuracy:.4f}")

    return repeat(trial, settings, on_epoch).model.cpu()
