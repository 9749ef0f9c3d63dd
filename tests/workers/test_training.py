"""What a worker makes of several tasks of one candidate: one network, or each alone."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import nn

from search.study.judge import Task
from search.training import loop
from search.training.arithmetic import Arithmetic
from search.training.loop import TrainingRun
from search.workers.messages import Begun, EpochDone, Event, Failed, Stopped, Trained
from search.workers.training import ObjectiveTraining
from tests.training.test_loop import network
from tests.training.test_stacked import RECIPE, images

EPOCHS = 3


class Trainee:
    """Trains one small network from a task's seed."""

    def __init__(self, build: Callable[[], nn.Module] = network) -> None:
        self.build = build

    def begin(self, task: Task, *, stacked: bool = False) -> tuple[TrainingRun, dict[str, Any]]:
        arithmetic = Arithmetic(fused=False, stacked=stacked)
        run = TrainingRun(
            self.build,
            RECIPE,
            images(),
            images(40),
            epochs=EPOCHS,
            seed=task.seed,
            arithmetic=arithmetic,
        )
        return run, {"stacked": stacked}

    def end(self, run: TrainingRun) -> tuple[float, dict[str, Any]]:
        return run.curve[-1].accuracy, {}


def tasks(*numbers: int) -> list[Task]:
    return [Task(number=number, seed=number, candidate="a") for number in numbers]


def told(
    given: Sequence[Task],
    trainee: Trainee | None = None,
    stops: Callable[[int, Sequence[Event]], bool] = lambda number, events: False,
) -> dict[int, list[Event]]:
    """What is told of each, by its number."""
    events: list[Any] = []
    training = ObjectiveTraining(trainee or Trainee(), keep_weights=False)
    training(given, events.append, lambda number: stops(number, events))
    return {task.number: [e for e in events if e.number == task.number] for task in given}


def losses(events: Sequence[Event]) -> list[float]:
    """Of all epochs that were told since a trial was last begun."""
    last = max(at for at, event in enumerate(events) if isinstance(event, Begun))
    return [e.epoch.training_loss for e in events[last:] if isinstance(e, EpochDone)]


def stacked(events: Sequence[Event]) -> list[bool]:
    return [event.facts["stacked"] for event in events if isinstance(event, Begun)]


def test_several_are_one_network_and_each_is_told_of() -> None:
    found = told(tasks(4, 6))
    for number, events in found.items():
        assert [type(event) for event in events] == [Begun, *[EpochDone] * EPOCHS, Trained]
        assert stacked(events) == [True]
        alone = told(tasks(number))[number]
        assert stacked(alone) == [False]
        assert losses(events) == pytest.approx(losses(alone), rel=1e-3)


def test_what_is_too_much_at_once_is_trained_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = loop.train_stacked

    def short_of_memory(*given: Any) -> Iterator[list[Any]]:
        yield next(whole(*given))
        raise torch.OutOfMemoryError("out of memory")

    monkeypatch.setattr(loop, "train_stacked", short_of_memory)
    for number, events in told(tasks(4, 6)).items():
        kinds = [type(event) for event in events]
        assert kinds == [Begun, EpochDone, Begun, *[EpochDone] * EPOCHS, Trained]
        assert stacked(events) == [True, False]
        assert losses(events) == losses(told(tasks(number))[number])


def test_what_cannot_even_be_built_at_once_is_trained_one_by_one() -> None:
    class Large(Trainee):
        def begin(self, task: Task, *, stacked: bool = False) -> tuple[TrainingRun, dict[str, Any]]:
            if stacked and task.number == 6:
                raise torch.OutOfMemoryError("out of memory")
            return super().begin(task, stacked=stacked)

    for events in told(tasks(4, 6), Large()).values():
        assert stacked(events) == [False]
        assert isinstance(events[-1], Trained)


def test_an_error_of_the_network_itself_is_told_of_each() -> None:
    class Broken(nn.Linear):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            raise ValueError("no such size")

    for events in told(tasks(4, 6), Trainee(lambda: Broken(1, 1))).values():
        assert isinstance(events[-1], Failed) and "no such size" in events[-1].reason
        assert [type(event) for event in events].count(Failed) == 1


def test_one_may_stop_or_diverge_and_the_others_are_trained() -> None:
    def after_the_first(number: int, events: Sequence[Event]) -> bool:
        return number == 6 and any(isinstance(event, EpochDone) for event in events)

    found = told(tasks(4, 6, 8), stops=after_the_first)
    assert [type(found[number][-1]) for number in (4, 6, 8)] == [Trained, Stopped, Trained]

    class Diverging(Trainee):
        def begin(self, task: Task, *, stacked: bool = False) -> tuple[TrainingRun, dict[str, Any]]:
            run, facts = super().begin(task, stacked=stacked)
            if task.number == 6:
                with torch.no_grad():
                    next(run.model.parameters()).fill_(math.nan)
            return run, facts

    found = told(tasks(4, 6, 8), Diverging())
    assert [type(event) for event in found[6]] == [Begun, Failed]
    assert [type(found[number][-1]) for number in (4, 8)] == [Trained, Trained]


def test_all_may_stop_at_once() -> None:
    def at_once(number: int, events: Sequence[Event]) -> bool:
        return any(isinstance(event, EpochDone) for event in events)

    for events in told(tasks(4, 6), stops=at_once).values():
        assert isinstance(events[-1], Stopped)
        assert len(losses(events)) <= 1


def test_what_was_cut_goes_on_together_where_it_is_as_far() -> None:
    first = told(tasks(4, 6, 8))
    states = {
        number: [event.state for event in events if isinstance(event, EpochDone)]
        for number, events in first.items()
    }
    cut = [
        Task(number=number, seed=number, candidate="a", state=states[number][at])
        for number, at in ((4, 0), (6, 0), (8, 1))
    ]
    for number, events in told(cut).items():
        assert stacked(events) == [True]
        begun = events[0]
        assert isinstance(begun, Begun)
        before = [epoch.training_loss for epoch in begun.curve]
        assert len(before) == (2 if number == 8 else 1)
        assert [*before, *losses(events)] == pytest.approx(losses(first[number]), rel=1e-3)
