"""The final weights of a trial, kept in a small file beside the study.

A network of 20,000 parameters takes 90 KB: a study of 1,000 complete trials at most 90 MB.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from search.engine.beside import WEIGHTS, folder_beside

if TYPE_CHECKING:
    from torch import Tensor

    from search.engine.checkpoint import Checkpoint


def weights_folder(storage: str) -> Path | None:
    """Where a study's networks are kept: beside the SQLite file; None with a database server."""
    return folder_beside(storage, WEIGHTS)


def weights_file(folder: Path, study: str, number: int, candidate: str, seed: int) -> Checkpoint:
    """The file of a trial's network.

    Args:
        folder: As ``weights_folder`` gives it.
        study: The study's name.
        number: The trial's; of a trial that was tried again the first attempt's, so that no
            attempt leaves a file behind.
        candidate: As JSON; a file of another candidate or seed is not used.
        seed: Of the training.
    """
    from search.engine.checkpoint import Checkpoint, checkpoint_path

    path = checkpoint_path(folder, study, number)
    return Checkpoint(path=path, identity=f"weights/{candidate}/{seed}")


def save_weights(file: Checkpoint, weights: dict[str, Tensor]) -> bool:
    """Keep a network's state; False where it cannot be written, which costs nobody a trial."""
    import torch

    kept = {  # cloned: a view would be written with all that it is a view of
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)
        for name, tensor in weights.items()
    }
    saved = file.save({"weights": kept})
    file.remove_half_written()
    return saved


def load_weights(file: Checkpoint) -> dict[str, Tensor] | None:
    """A network's state, or None where the file is missing, damaged or of another trial."""
    state = file.load()
    return None if state is None else state.get("weights")
