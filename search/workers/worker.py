"""A worker's life, wherever it runs: takes tasks, trains, tells. It knows of no study."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol, runtime_checkable

from search.common.errors import InterruptedTraining, reason_of, traceback_of
from search.study.judge import Task
from search.workers.messages import (
    Event,
    Failed,
    Stop,
    Stopped,
    Stops,
    Tell,
    TellOf,
    Trained,
    Training,
)

GATHER_SECONDS = 2.0  # to wait for another task of the same candidate


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
        attempt(partial(training, task, tell, partial(inbox.stops, task.number)), tell)


def attempt(train: Callable[[], None], tell: Tell) -> None:
    """Train, and tell how it ended if not well."""
    try:
        train()
    except InterruptedTraining:
        tell(Stopped())
    except Exception as error:
        tell(Failed(reason=reason_of(error), traceback=traceback_of(error)))


@runtime_checkable
class StackedTraining(Protocol):
    """A worker's part of an objective that trains seeds of one candidate as one network."""

    def together(self, tasks: Sequence[Task], tell: TellOf, stops: Stops) -> None:
        """Train; tells of each task by its number, as ``Training`` does, also that one failed.

        Raises:
            Exception: Of the candidate, that holds for all that have not been told to have ended.
        """
        ...


def serve_stacked(
    receive: Callable[[float | None], tuple[int, Task] | Stop | None],
    tell: Callable[[int, Event], None],
    training: StackedTraining,
    places: int,
) -> None:
    """Train what is given to the places of a worker; tasks of one candidate at once.

    To whoever gives and stops tasks each place is a worker of its own. So a task of another
    candidate waits until those before it are done.

    Args:
        receive: Waits for a task and its place, or that one is to stop, for so many seconds;
            None: for ever.
        tell: To a place.
        training: Trains.
        places: How many.
    """
    waiting: dict[int, Task] = {}  # by place
    stopped: set[int] = set()  # numbers

    def take(seconds: float | None) -> bool:
        message = receive(seconds)
        if isinstance(message, Stop):
            stopped.add(message.number)
            for place in [at for at, task in waiting.items() if task.number == message.number]:
                del waiting[place]
                tell(place, Stopped())
        elif message is not None:
            place, task = message
            waiting[place] = task
            stopped.discard(task.number)
        return message is not None

    while True:
        while not waiting:
            take(None)
        while len(waiting) < places and take(GATHER_SECONDS):
            continue
        candidate = next(iter(waiting.values())).candidate
        group = {
            task.number: place for place, task in waiting.items() if task.candidate == candidate
        }
        tasks = [waiting.pop(place) for place in group.values()]

        def told(number: int, event: Event, group: dict[int, int] = group) -> None:
            if number in group:
                ends = isinstance(event, Trained | Failed | Stopped)
                tell(group.pop(number) if ends else group[number], event)

        def stops(number: int, group: dict[int, int] = group) -> bool:
            while take(0):
                continue
            if number in stopped:
                told(number, Stopped(), group)
            return number not in group

        def to_all(event: Event, group: dict[int, int] = group) -> None:
            for number in list(group):
                told(number, event, group)

        attempt(partial(training.together, tasks, told, stops), to_all)
