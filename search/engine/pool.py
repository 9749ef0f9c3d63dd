"""What every kind of workers offers to the one who watches over them."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Protocol

from search.engine.claims import epochs_done
from search.engine.text import counted

if TYPE_CHECKING:
    import optuna

DEATHS_IN_A_ROW = 10  # so often each worker may die without an epoch finished in between


class WorkerError(Exception):
    """A worker ended over an error that is not a candidate's."""


class Workers(Protocol):
    """A number of running workers, replaced when one dies: here, or on other machines."""

    @property
    def running(self) -> bool:
        """Whether any worker works."""
        ...

    @property
    def unfinished(self) -> bool:
        """Whether any worker works, or has died and is to be replaced."""
        ...

    @property
    def gone(self) -> Collection[str]:
        """After ``kill`` and ``join``: owners, unseen from here, whose trials were cut."""
        ...

    def tend(self, study: optuna.Study) -> list[str]:
        """Release the trials of dead workers and replace those.

        Returns:
            Lines that say what happened.

        Raises:
            UserError: If the study cannot be written.
            WorkerError: If a worker ended over an error in the program, or workers die again and
                again.
        """
        ...

    def stop(self) -> None:
        """Ask every worker to end its trial now."""
        ...

    def kill(self) -> None:
        """End every worker at once; its trial is released by the caller."""
        ...

    def join(self, timeout: float) -> bool:
        """Wait so many seconds for all to end; returns whether they did."""
        ...


def replaced(count: int) -> str:
    """The line on workers that died while their machine lives."""
    return f"{counted(count, 'worker')} died, now replaced; what was trained there is queued again"


class Deaths:
    """Counts deaths with no epoch of any trial finished in between.

    Args:
        most: So many end the run; more than a trial may be cut, so that one bad candidate is
            given up first.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._count = 0
        self._epochs_done = -1

    def add(self, study: optuna.Study, count: int, how: str) -> None:
        """Count some more.

        Args:
            study: Theirs.
            count: How many died.
            how: What ended the last one, to stand behind "the last".

        Raises:
            WorkerError: If these are too many.
        """
        done = epochs_done(study.get_trials(deepcopy=False))
        self._count = count + (0 if done > self._epochs_done else self._count)
        self._epochs_done = done
        if self._count >= self._most:
            raise WorkerError(
                f"workers died {counted(self._count, 'time')} with no epoch finished in between, "
                f"the last{how}. Mend that and give the same command again."
            )
