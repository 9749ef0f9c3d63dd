"""A worker with several places: what is trained at once, what waits, what is told to whom."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence
from typing import Any

from search.common.errors import InterruptedTraining
from search.study.judge import Task
from search.workers.messages import Begun, Event, Stop, Stops, TellOf, Trained
from search.workers.worker import serve_stacked


class Recorder:
    """A training of several tasks that lasts until it is told to end, or all are to stop."""

    def __init__(self) -> None:
        self.groups: queue.SimpleQueue[list[int]] = queue.SimpleQueue()
        self.end = threading.Event()
        self.error: Exception | None = None

    def together(self, tasks: Sequence[Task], tell: TellOf, stops: Stops) -> None:
        self.groups.put([task.number for task in tasks])
        for task in tasks:
            tell(task.number, Begun(facts={}, curve=()))
        while not self.end.wait(0.01):
            if all([stops(task.number) for task in tasks]):
                raise InterruptedTraining
        if self.error:
            raise self.error
        for task in tasks:
            tell(task.number, Trained(value=0.5, facts={}, weights=None))


class Desk:
    """Serves in a thread what a test gives."""

    def __init__(self, places: int) -> None:
        self.training = Recorder()
        self.inbox: queue.Queue[Any] = queue.Queue()
        self.told: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        threading.Thread(
            target=serve_stacked,
            args=(self._receive, self._tell, self.training, places),
            daemon=True,
        ).start()

    def _receive(self, seconds: float | None) -> Any:
        try:
            return self.inbox.get(timeout=seconds) if seconds != 0 else self.inbox.get_nowait()
        except queue.Empty:
            return None

    def _tell(self, place: int, event: Event) -> None:
        self.told.put((place, type(event).__name__))

    def give(self, place: int, number: int, candidate: str) -> None:
        self.inbox.put((place, Task(number=number, seed=number, candidate=candidate)))

    def group(self) -> list[int]:
        return self.training.groups.get(timeout=20)

    def heard(self, count: int) -> list[tuple[int, str]]:
        return [self.told.get(timeout=20) for _ in range(count)]


def test_tasks_of_one_candidate_are_trained_at_once_and_others_after_them() -> None:
    desk = Desk(places=3)
    for place, (number, candidate) in enumerate([(7, "a"), (8, "b"), (9, "a")]):
        desk.give(place, number, candidate)
    assert desk.group() == [7, 9]
    assert desk.heard(2) == [(0, "Begun"), (2, "Begun")]
    desk.training.end.set()
    assert desk.heard(2) == [(0, "Trained"), (2, "Trained")]
    assert desk.group() == [8]
    assert desk.heard(2) == [(1, "Begun"), (1, "Trained")]


def test_one_that_is_to_stop_leaves_its_place_and_the_others_go_on() -> None:
    desk = Desk(places=2)
    desk.give(0, 7, "a")
    desk.give(1, 8, "a")
    assert desk.group() == [7, 8]
    desk.heard(2)
    desk.inbox.put(Stop(number=8))
    assert desk.heard(1) == [(1, "Stopped")]
    desk.give(1, 9, "a")  # waits: those before it are at another epoch
    desk.inbox.put(Stop(number=9))
    assert desk.heard(1) == [(1, "Stopped")]
    desk.give(1, 9, "a")
    desk.inbox.put(Stop(number=7))
    assert desk.heard(1) == [(0, "Stopped")]
    assert desk.group() == [9]
    desk.inbox.put(Stop(number=7))  # late: it must not end this one
    desk.training.end.set()
    assert desk.heard(2) == [(1, "Begun"), (1, "Trained")]


def test_an_error_of_the_candidate_is_told_to_all() -> None:
    desk = Desk(places=2)
    desk.training.error = ValueError("no")
    desk.training.end.set()
    desk.give(0, 7, "a")
    desk.give(1, 8, "a")
    assert desk.heard(4)[2:] == [(0, "Failed"), (1, "Failed")]
    desk.training.error = None
    desk.give(0, 9, "a")
    assert desk.heard(2) == [(0, "Begun"), (0, "Trained")]
