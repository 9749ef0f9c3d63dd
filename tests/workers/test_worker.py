"""A worker's life: what it is given, what it is to stop, what it tells of errors."""

from __future__ import annotations

import queue
import threading
from collections.abc import Sequence

from search.common.errors import InterruptedTraining, TrainingError
from search.study.judge import Task
from search.workers.messages import Begun, Event, Ready, Stop, Stops, Tell, Trained
from search.workers.worker import Inbox, Message, failed, serve


class Recorder:
    """Trains several tasks until it is told to end, or all are to stop."""

    def __init__(self) -> None:
        self.end = threading.Event()
        self.error: Exception | None = None
        self.stopped: list[bool] = []

    def __call__(self, tasks: Sequence[Task], tell: Tell, stops: Stops) -> None:
        for task in tasks:
            tell(Begun(number=task.number, facts={}, curve=()))
        while not self.end.wait(0.01):
            self.stopped = [stops(task.number) for task in tasks]
            if all(self.stopped):
                raise InterruptedTraining
        for task in tasks:
            if self.error:
                raise self.error
            tell(Trained(number=task.number, value=0.5, facts={}, weights=None))
            self.error = ValueError("no") if task.candidate == "breaks" else None


class Desk:
    """Serves in a thread what a test gives."""

    def __init__(self) -> None:
        self.training = Recorder()
        self.inbox: queue.Queue[Message] = queue.Queue()
        self.told: queue.SimpleQueue[Event] = queue.SimpleQueue()
        given = (Inbox(self._receive), self.told.put, self.training, Ready(name="me"))
        threading.Thread(target=serve, args=given, daemon=True).start()

    def _receive(self, wait: bool) -> Message | None:
        try:
            return self.inbox.get(block=wait)
        except queue.Empty:
            return None

    def give(self, *numbers: int, candidate: str = "a") -> None:
        self.inbox.put([Task(number=at, seed=at, candidate=candidate) for at in numbers])

    def heard(self, count: int) -> list[tuple[str, int | None]]:
        events = [self.told.get(timeout=20) for _ in range(count)]
        return [(type(event).__name__, getattr(event, "number", None)) for event in events]


def test_it_is_ready_again_when_all_it_was_given_has_ended() -> None:
    desk = Desk()
    desk.give(7, 9)
    assert desk.heard(3) == [("Ready", None), ("Begun", 7), ("Begun", 9)]
    desk.training.end.set()
    assert desk.heard(3) == [("Trained", 7), ("Trained", 9), ("Ready", None)]


def test_one_that_is_to_stop_is_known_by_its_number_and_forgotten_with_the_others() -> None:
    desk = Desk()
    desk.give(7, 8)
    desk.heard(3)
    desk.inbox.put(Stop(number=8))
    while desk.training.stopped != [False, True]:
        assert not desk.training.end.wait(0.01)
    desk.inbox.put(Stop(number=7))
    assert desk.heard(3) == [("Stopped", 7), ("Stopped", 8), ("Ready", None)]
    desk.inbox.put(Stop(number=8))  # late: it must not end what is given next
    desk.give(8, 9)
    assert desk.heard(2) == [("Begun", 8), ("Begun", 9)]
    desk.training.end.set()
    assert desk.heard(3) == [("Trained", 8), ("Trained", 9), ("Ready", None)]


def test_an_error_is_told_of_all_that_had_not_ended() -> None:
    desk = Desk()
    desk.training.end.set()
    desk.give(7, 8, 9, candidate="breaks")
    assert desk.heard(5)[4:] == [("Trained", 7)]
    assert desk.heard(3) == [("Failed", 8), ("Failed", 9), ("Ready", None)]


def test_what_the_training_finds_itself_is_told_without_a_traceback() -> None:
    told = failed(3, TrainingError("loss is not finite at epoch 1"))
    assert (told.reason, told.traceback) == ("failed: loss is not finite at epoch 1", "")
    assert "ValueError: odd" in failed(3, ValueError("odd")).traceback
