"""When a search has an accuracy: leaders, and from when on what they have is enough."""

from __future__ import annotations

import datetime as dt
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
from optuna.trial import FrozenTrial

from benchmarks import search_quality, time_to_accuracy
from benchmarks.time_to_accuracy import Lead, Trained, Training, leads, reached
from tests.reporting.studies import START, complete, sqlite_study, study_of


def test_leaders_change_as_trials_end_and_breaks_do_not_count() -> None:
    ends = ((1, 0.98), (2, 0.97), (3, 0.99), (600, 0.991))  # minutes; a night before the last
    trials = []
    for minute, accuracy in ends:
        trial = complete(accuracy=accuracy)
        trial.datetime_start = START
        trial.datetime_complete = START + dt.timedelta(minutes=minute)
        trials.append(trial)
    found = list(leads(study_of(trials)))
    assert [(lead.trial, lead.says) for lead in found] == [(0, 0.98), (2, 0.99), (3, 0.991)]
    assert [lead.minutes for lead in found] == pytest.approx([1, 3, 13])


@pytest.mark.parametrize(
    ("fresh", "since"),
    [
        ({0: 0.5, 1: 0.9, 2: 0.9}, 2.0),
        ({0: 0.9, 1: 0.5, 2: 0.9}, 3.0),
        ({0: 0.9, 1: 0.9, 2: 0.5}, None),
        ({0: 0.9, 1: 0.9, 2: 0.9}, 1.0),
    ],
)
def test_it_counts_from_when_it_stays(fresh: dict[int, float], since: float | None) -> None:
    found = [Lead(minutes=float(at + 1), trial=at, says=0.9) for at in range(3)]
    assert reached(found, fresh, 0.8) == since


def ended(begun: dt.datetime) -> list[FrozenTrial]:
    trial = complete(accuracy=0.99)
    trial.datetime_start, trial.datetime_complete = begun, begun + dt.timedelta(minutes=1)
    return [trial]


def test_what_has_ended_is_not_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Another study that has this one's name by now is another."""
    study, keep = tmp_path / "a.db", tmp_path / "kept.jsonl"
    keep.write_text(
        "".join(
            json.dumps(
                {
                    "job": {"study": str(study), "trial": 0, "number": number, "begun": str(START)},
                    "commit": "abc",
                    "result": {"accuracy": accuracy},
                }
            )
            + "\n"
            for number, accuracy in enumerate((0.98, 0.97))
        )
    )
    ran: list[Training] = []

    def beside(do: object, jobs: Sequence[Training]) -> list[tuple[Training, Trained]]:
        ran.extend(jobs)
        return [(job, Trained(accuracy=0.5)) for job in jobs]

    monkeypatch.setattr(search_quality, "commit", lambda root: "abc")
    monkeypatch.setattr(search_quality, "beside", beside)
    command = ["time_to_accuracy.py", str(study), "--seeds", "2", "--keep", str(keep)]
    monkeypatch.setattr(sys, "argv", [*command, "--accuracy", "97.5"])
    sqlite_study(study, ended(START))
    assert time_to_accuracy.main() == 0
    printed = capsys.readouterr().out
    assert (ran, "97.500 %" in printed, "from minute 1.0 on" in printed) == ([], True, True)

    study.unlink()
    sqlite_study(study, ended(START + dt.timedelta(days=1)))
    assert time_to_accuracy.main() == 0
    assert [(one.trial, one.number) for one in ran] == [(0, 0), (0, 1)]
    printed = capsys.readouterr().out
    assert ("50.000 %" in printed, "never" in printed) == (True, True)
