"""A worker's life, wherever it runs: takes tasks, trains, tells. It knows of no study."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from functools import partial

from search.common.errors import (
    InterruptedTraining,
    TrainingError,
    reason_of,
    traceback_of,
)
from search.study.judge import Task
from search.workers.messages import Ended, Event, Failed, Ready, Stop, Stopped, Tell, Training

Message = Sequence[Task] | Stop  # from the coordinator


class Inbox:
    """What a worker hears from its coordinator.

    Args:
        receive: Gives the next message. Told to wait, it waits for one; else it may give None.
    """

    def __init__(self, receive: Callable[[bool], Message | None]) -> None:
        self._receive = receive
        self._stopped: set[int] = set()  # numbers

    def next_tasks(self) -> Sequence[Task]:
        """Wait for something to train."""
        self._stopped.clear()
        while True:
            message = self._receive(True)
            if not (message is None or isinstance(message, Stop)):
                return message  # what was to stop before has ended already

    def stops(self, number: int) -> bool:
        """Whether the training of a trial is to end; asked before every step."""
        while isinstance(message := self._receive(False), Stop):
            self._stopped.add(message.number)
        return number in self._stopped


def serve(inbox: Inbox, tell: Tell, training: Training, ready: Ready) -> None:
    """Train for ever what is given; no error of a candidate leaves this function.

    Args:
        inbox: Gives it.
        tell: Told how it goes.
        training: Trains.
        ready: Told whenever there is nothing to do.
    """
    while True:
        tell(ready)
        tasks = inbox.next_tasks()
        train = partial(training, tasks, stops=inbox.stops)
        attempt(train, [task.number for task in tasks], tell)


def attempt(train: Callable[[Tell], None], numbers: Collection[int], tell: Tell) -> None:
    """Train, and tell how those trials ended of which that was not told.

    Args:
        train: Trains, and tells what it is given.
        numbers: Of the trials.
        tell: Told of them.
    """
    left = set(numbers)

    def pass_on(event: Event) -> None:
        if isinstance(event, Ended):
            left.discard(event.number)
        tell(event)

    try:
        train(pass_on)
    except InterruptedTraining:
        for number in sorted(left):
            tell(Stopped(number=number))
    except Exception as error:
        for number in sorted(left):
            tell(failed(number, error))


def failed(number: int, error: Exception) -> Failed:
    """That a candidate raised an error."""
    traceback = "" if isinstance(error, TrainingError) else traceback_of(error)
    return Failed(number=number, reason=reason_of(error), traceback=traceback)
