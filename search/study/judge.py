"""What a study needs of an objective: it proposes trials, and sees their epochs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import optuna

    from search.training.epoch import Epoch


@dataclass(frozen=True, kw_only=True)
class Task:
    """One trial to train: all that a worker gets."""

    number: int  # the trial's
    seed: int
    candidate: str  # as the space wrote it: JSON
    parameters: int | None = None  # that its network was counted to have
    state: bytes | None = None  # of an earlier attempt, to go on from


class Judge(Protocol):
    """The part of an objective that holds the trial."""

    def propose(self, trial: optuna.Trial) -> Task:
        """What to train; called again for a trial that was interrupted, which has all it had.

        Raises:
            optuna.TrialPruned: If it is not to be trained.
            Exception: If there is no such candidate.
        """
        ...

    def report(self, trial: optuna.Trial, curve: Sequence[Epoch]) -> None:
        """Take in the last of these epochs.

        Raises:
            optuna.TrialPruned: If the trial shall end.
        """
        ...

    def record(self, trial: optuna.Trial, curve: Sequence[Epoch]) -> None:
        """Sum up a trial that ends, however it does."""
        ...
