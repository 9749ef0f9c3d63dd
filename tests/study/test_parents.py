"""Signs of life: of processes here by looking for them, of those elsewhere by one's own clock."""

from __future__ import annotations

import os
import subprocess
import sys

import optuna
import pytest
from optuna.trial import FrozenTrial

from search.common.process_id import process_id
from search.study.parents import GRACE_SECONDS, SIGN, SignsOfLife, elsewhere, orphans

ELSEWHERE = "some-other-host/12345678:1:1.0"


def running(*owners: str | None) -> list[FrozenTrial]:
    """Running trials that belong to some processes."""
    study = optuna.create_study()
    for owner in owners:
        trial = study.ask()
        if owner is not None:
            trial.set_user_attr("parent", owner)
    return study.get_trials()


@pytest.mark.processes
def test_only_trials_of_processes_that_are_gone_are_orphans() -> None:
    code = "from search.common.process_id import process_id as n; print(n())"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    with subprocess.Popen(
        [sys.executable, "-c", f"{code[:-1]}, flush=True); input()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        living = process.stdout.readline().strip()
        host, _, _ = process_id().rsplit(":", 2)
        number_reused = f"{host}:{os.getpid()}:1.0"
        owners = [dead.stdout.strip(), living, ELSEWHERE, number_reused, process_id(), None]
        trials = running(*owners, process_id(), "../../mine")
        assert orphans(trials, mine={4}) == [0, 3, 5, 6, 7]
        assert orphans(trials, mine={4}, silent={ELSEWHERE}) == [0, 2, 3, 5, 6, 7]
        process.communicate("")
    assert elsewhere(trials) == {ELSEWHERE}


def test_trials_of_an_older_version_go_by_their_worker() -> None:
    study = optuna.create_study()
    study.ask().set_user_attr("worker", ELSEWHERE)
    assert orphans(study.get_trials(), mine=()) == []
    assert elsewhere(study.get_trials()) == {ELSEWHERE}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_only_who_changes_no_more_is_silent() -> None:
    clock = Clock()
    signs: dict[str, object] = {}
    looks = SignsOfLife("me", signs.__setitem__, lambda: signs, clock)
    other = SignsOfLife("other", signs.__setitem__, lambda: signs, clock)
    dead = SignsOfLife("dead", signs.__setitem__, lambda: signs, clock)
    dead.beat()
    names = {"other", "dead", "never"}
    while clock.now < GRACE_SECONDS + 30:
        other.beat()
        expected = {"dead", "never"} if clock.now >= GRACE_SECONDS else set()
        assert looks.silent(names) == expected
        clock.now += 20
    assert clock.now - 20 <= 180, "noticed within three minutes"
    assert signs[SIGN + "other"] == 9


def test_one_who_could_not_look_for_long_takes_nobody_for_dead() -> None:
    clock = Clock()
    signs: dict[str, object] = {}
    looks = SignsOfLife("me", signs.__setitem__, lambda: signs, clock)
    assert looks.silent({"dead"}) == set()
    clock.now = 1000
    assert looks.silent({"dead"}) == set(), "nor could the other write"
    clock.now += GRACE_SECONDS
    assert looks.silent({"dead"}) == set(), "a minute at most counts of each gap"
    for _ in range(3):
        clock.now += 60
        silent = looks.silent({"dead"})
    assert silent == {"dead"}
