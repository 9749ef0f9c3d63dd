"""A command on another machine that vanishes: its silence is noticed, and its trials are kept."""

from __future__ import annotations

import time

import pytest
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from search.study import parents, shared
from search.study.judge import Task
from search.study.parents import SignsOfLife
from search.study.shared import Answer, SharedStudy
from search.study.storages.opening import create_study, open_study
from tests.cluster.stand_ins import StandIn, share

pytestmark = pytest.mark.processes

ELSEWHERE = "elsewhere/1234abcd:1:1@x"
GRACE = 1.0  # seconds
PATIENT = 60.0


@pytest.fixture(autouse=True)
def _soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parents, "GRACE_SECONDS", GRACE)
    monkeypatch.setattr(parents, "BEAT_SECONDS", GRACE / 10)


def dispatch(study: SharedStudy) -> list[int]:
    """The number of the trial that is given, if one is."""
    given: list[Task] = []
    study.dispatch(StandIn(), 1, "worker", given.extend, given.remove)
    return [task.number for task in given]


def taken_over(study: SharedStudy) -> int:
    """What a command does again and again, once."""
    time.sleep(parents.BEAT_SECONDS)
    study.refresh()
    study.beat()
    return study.take_over()


def test_a_trial_is_put_back_after_silence_alone(database: str) -> None:
    """Not while its sign of life is counted up, and not before the silence was long enough."""
    there = create_study(database, "s")
    trial = there.ask()
    trial.set_user_attr("parent", ELSEWHERE)
    study_id = there.storage.get_study_id_from_name("s")
    sign = SignsOfLife(
        ELSEWHERE,
        lambda key, value: there.storage.set_study_system_attr(study_id, key, value),
        lambda: there.storage.get_study_system_attrs(study_id),
    )
    here = share(database)
    living = time.monotonic()
    while time.monotonic() < living + 3 * GRACE:
        sign.beat()
        assert taken_over(here) == 0
        assert dispatch(here) == []
    silent = time.monotonic()
    while not taken_over(here):
        assert time.monotonic() < silent + PATIENT
    assert time.monotonic() >= silent + GRACE - parents.BEAT_SECONDS
    assert [t.state for t in open_study(database, "s").trials] == [TrialState.WAITING]
    assert dispatch(here) == [trial.number]


def test_one_that_only_slept_leaves_its_trial_to_who_took_it(
    database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    create_study(database, "s")
    with monkeypatch.context() as patched:
        patched.setattr(shared, "process_id", lambda: ELSEWHERE)
        asleep = share(database)
    assert dispatch(asleep) == [0]
    assert asleep.beat() == []
    here = share(database)
    begun = time.monotonic()
    while not taken_over(here):
        assert time.monotonic() < begun + PATIENT
    assert dispatch(here) == [0]
    assert asleep.beat() == [0]
    assert asleep.beat() == [], "told once"
    here.complete(0, 0.5)
    with pytest.raises(UpdateFinishedTrialError):
        asleep.complete(0, 0.25)
    asleep.refresh()
    assert asleep.dispatch(StandIn(), 1, "worker", print, print) is Answer.ENOUGH
    (trial,) = open_study(database, "s").trials
    assert (trial.value, len(asleep.trials())) == (0.5, 1)
