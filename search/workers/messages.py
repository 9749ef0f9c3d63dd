"""What a coordinator and its workers tell each other: numbers, and bytes of tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from search.data.dataset import DataSource
    from search.study.judge import Task
    from search.training.epoch import Epoch


@dataclass(frozen=True, kw_only=True)
class Stop:
    """To a worker: end the training of a trial now, if you are still at it."""

    number: int  # the trial's


@dataclass(frozen=True, kw_only=True)
class Ready:
    """From a worker: it can be given tasks."""

    name: str  # of its process, as ``process_id`` gives it
    node: str = ""  # of its machine, as Ray names it


@dataclass(frozen=True, kw_only=True)
class Begun:
    """Its network is built; all epochs are to come but those of the state that it goes on from."""

    number: int  # the trial's, as in all that follow
    facts: dict[str, Any]  # the trial's attributes that only the worker knows
    curve: Sequence[Epoch]  # of that state


@dataclass(frozen=True, kw_only=True)
class EpochDone:
    """An epoch more is trained."""

    number: int
    epoch: Epoch
    state: bytes | None  # to go on from; None after the last epoch


@dataclass(frozen=True, kw_only=True)
class Trained:
    """All epochs are."""

    number: int
    value: float
    facts: dict[str, Any]
    weights: bytes | None  # where networks are kept


@dataclass(frozen=True, kw_only=True)
class Stopped:
    """It ended its training because it was told to."""

    number: int


@dataclass(frozen=True, kw_only=True)
class Failed:
    """The candidate raised an error."""

    number: int
    reason: str
    traceback: str


@dataclass(frozen=True, kw_only=True)
class Broken:
    """The worker could not even begin, over an error of the program."""

    traceback: str


@dataclass(frozen=True, kw_only=True)
class Died:
    """A worker is gone; another takes its place."""

    how: str  # to stand behind "the last"
    node: str = ""  # the machine that was lost with it; empty where the worker died alone


Ended = Trained | Stopped | Failed
Event = Ready | Begun | EpochDone | Ended | Broken | Died
Tell = Callable[[Event], None]
Stops = Callable[[int], bool]  # whether the training of a trial is to end


class Training(Protocol):
    """A worker's part of an objective."""

    def __call__(self, tasks: Sequence[Task], tell: Tell, stops: Stops) -> None:
        """Train a task, or several of one candidate; tells how each goes.

        Args:
            tasks: What to train.
            tell: Told ``Begun``, ``EpochDone`` and ``Trained`` of each.
            stops: Asked before every step.

        Raises:
            search.common.errors.InterruptedTraining: If all that had not ended were to stop.
            Exception: Of the candidate, for all that have not been told to have ended.
        """
        ...


# Makes a worker's part in its process, from its index and the data as they are there; pickled.
MakeTraining = Callable[[int, "DataSource"], Training]


class Workers(Protocol):
    """Some workers, each replaced when it dies, here or on other machines.

    A worker is known by its index. It is ready when ``events`` has told ``Ready`` of it, which it
    does again when all that it was given has ended.
    """

    def give(self, worker: int, tasks: Sequence[Task]) -> None:
        """Have a worker that is ready train a task, or several of one candidate."""
        ...

    def stop(self, worker: int, number: int) -> None:
        """Have a worker end the training of a trial, if it is still at it."""
        ...

    def events(self, seconds: float) -> list[tuple[int, Event]]:
        """What workers have told since the last call; waits so long for the first.

        A worker that died has told its last, and is replaced.
        """
        ...

    def notices(self) -> list[str]:
        """Lines for the user on what became of the workers, each once."""
        ...

    def close(self) -> None:
        """End all at once: they hold nothing."""
        ...
