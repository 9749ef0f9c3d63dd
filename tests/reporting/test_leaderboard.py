from __future__ import annotations

import csv
import datetime as dt
import io

import optuna
from optuna.trial import TrialState, create_trial

from search.architecture.references import REFERENCES
from search.reporting.leaderboard import Summary, best_so_far, summarize
from search.reporting.pages.writing import render
from search.reporting.records import Outcome
from tests.reporting.studies import SETTINGS, complete, failed, pruned, study_of


def test_counts_tell_every_outcome() -> None:
    trials = [
        complete(),
        complete(parameters=30_000),
        pruned(reason="median pruner at epoch 6: 0.97"),
        pruned(reason="over budget", last=None, over_budget=True),
        pruned(reason="over budget", last=None, over_budget=True),
        create_trial(state=TrialState.FAIL),
        create_trial(state=TrialState.FAIL, user_attrs={"retried": True}),
        create_trial(state=TrialState.FAIL, user_attrs={"left_out": True}),
        create_trial(state=TrialState.RUNNING),
        create_trial(state=TrialState.WAITING),
    ]
    summary = summarize(study_of(trials))

    assert summary.counts == {
        Outcome.COMPLETE: 2,
        Outcome.PRUNED: 1,
        Outcome.OVER_BUDGET: 2,
        Outcome.FAILED: 1,
        Outcome.LEFT_OUT: 1,
        Outcome.INTERRUPTED: 1,
        Outcome.RUNNING: 1,
        Outcome.WAITING: 1,
    }
    assert summary.finished == 5
    assert len(summary.entries) == 1
    assert summary.unranked == {"with more than 20,000 parameters": 1}


def test_a_pruned_trial_is_not_ranked_although_it_has_a_value() -> None:
    trial = pruned(reason="median", last=0.999, parameters=9, epochs=6)

    assert summarize(study_of([trial])).entries == ()


def test_the_realistic_study_is_summed_up_whole(summary: Summary) -> None:
    assert len(summary.trials) == 60
    assert sum(summary.counts.values()) == 60
    assert len(summary.entries) + sum(summary.unranked.values()) == summary.counts[Outcome.COMPLETE]
    assert [trial.reference for trial in summary.references] == [
        "narrow-8k",
        "valid-conv-18k",
        "wide-vgg",
    ]
    assert summary.references[2].outcome is Outcome.OVER_BUDGET
    assert summary.references[2].parameters is not None
    assert summary.references[2].parameters > 6_000_000
    assert all(entry.layers for entry in summary.entries)
    assert all(
        sum(layer.parameters for layer in entry.layers) == entry.parameters
        for entry in summary.entries
    )


def test_times_are_added_and_spanned() -> None:
    first, second = complete(seconds=30.0), complete(seconds=12.5)
    start = dt.datetime(2026, 1, 1)
    first._datetime_start, first.datetime_complete = start, start + dt.timedelta(seconds=30)
    second._datetime_start = start + dt.timedelta(seconds=10)
    second.datetime_complete = start + dt.timedelta(seconds=40)
    summary = summarize(study_of([first, second]))

    assert summary.training_seconds == 42.5
    assert summary.span_seconds == 40.0


def test_an_empty_study_has_an_empty_summary() -> None:
    summary = summarize(study_of([]))

    assert summary.entries == ()
    assert summary.verdict.met is None
    assert summary.span_seconds is None
    assert summary.finished == 0


def test_only_harmless_settings_are_shown() -> None:
    settings = {**SETTINGS, "storage": "postgresql://u:secret@host/db", "note": "secret"}
    summary = summarize(study_of([], settings=settings))

    assert dict(summary.settings) == {
        "data": "MNIST, 50,000 training images, 10,000 validation images",
        "sampler": "tpe",
        "pruner": "median",
        "seed": "0",
    }


def test_best_so_far_counts_valid_trials_alone() -> None:
    trials = [
        pruned(reason="median", last=0.999),
        complete(accuracy=0.98),
        complete(accuracy=0.999, parameters=30_000),
        complete(accuracy=0.97),
        complete(accuracy=0.99),
    ]
    summary = summarize(study_of(trials))

    assert best_so_far(summary, summary.trials) == [None, 0.98, 0.98, 0.98, 0.99]


def test_a_study_that_minimises_is_described_but_not_ranked() -> None:
    study = study_of(
        [complete(accuracy=value) for value in (0.5, 0.7, 0.2)],
        settings=None,
        direction="minimize",
    )
    summary = summarize(study)

    assert summary.entries == ()
    assert not summary.measures_accuracy
    assert best_so_far(summary, summary.trials) == [0.5, 0.5, 0.2]
    assert summary.limits.assumed


def test_a_study_with_two_objectives_is_described_but_not_ranked() -> None:
    study = optuna.create_study(directions=["maximize", "minimize"])
    study.optimize(lambda t: (t.suggest_float("x", 0, 1), 1.0), n_trials=3)
    summary = summarize(study)

    assert summary.entries == ()
    assert summary.counts[Outcome.COMPLETE] == 3
    assert "more than one objective" in summary.importance.reason


def test_what_was_handed_in_is_ranked_marked_and_not_counted() -> None:
    search = study_of([complete(accuracy=0.99), complete(accuracy=0.98)])
    label = "handed in: mine"
    beside = optuna.create_study(
        study_name="cnn-search candidates", storage=search.storage, direction="maximize"
    )
    rejected = REFERENCES["wide-vgg"].candidate.to_json()
    beside.add_trials(
        [
            failed(label=label, handed_in="{}"),
            complete(accuracy=0.995, label=label, handed_in="{}"),
            pruned(
                reason="over budget: 6,379,786 parameters > 20,000",
                last=None,
                over_budget=True,
                parameters=6_379_786,
                label="reference: wide-vgg",
                handed_in=rejected,
            ),
        ]
    )
    summary = summarize(search)
    assert [entry.trial.name for entry in summary.entries] == ["h1", "0", "1"]
    assert [trial.name for trial in summary.references] == ["h1", "h2"]
    assert summary.verdict.best is summary.entries[1]
    assert summary.verdict.met is False
    assert summary.finished == len(summary.trials) == 2
    assert best_so_far(summary, summary.trials) == [0.99, 0.99]
    files = render(summary, top=10)
    for text in (files["leaderboard.md"], files["leaderboard.html"]):
        assert "Reference systems and candidates of users" in text
        assert "6,379,786" in text
        assert "h1" in text
    rows = list(csv.DictReader(io.StringIO(files["leaderboard.csv"])))
    assert [(row["trial"], row["label"]) for row in rows[:2]] == [("h1", label), ("0", "")]
