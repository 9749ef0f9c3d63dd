"""A worker's life, wherever it runs: takes tasks, trains, tells. It knows of no study."""

from __future__ import annotations

from typing import Protocol

from search.common.errors import InterruptedTraining, reason_of, traceback_of
from search.study.judge import Task
from search.workers.messages import Failed, Stopped, Tell, Training


class Inbox(Protocol):
    """Where a worker hears from its coordinator."""

    def next_task(self) -> Task | None:
        """Wait for a task; None when there will be no more."""
        ...

    def stops(self, number: int) -> bool:
        """Whether the training of a trial is to end; asked before every step."""
        ...


def serve(inbox: Inbox, tell: Tell, training: Training) -> None:
    """Train tasks until there will be no more; no error of a candidate leaves this function."""
    while (task := inbox.next_task()) is not None:
        number = task.number
        try:
            training(task, tell, lambda number=number: inbox.stops(number))  # type: ignore[misc]
        except InterruptedTraining:
            tell(Stopped())
        except Exception as error:
            tell(Failed(reason=reason_of(error), traceback=traceback_of(error)))
