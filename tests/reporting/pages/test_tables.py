from __future__ import annotations

import csv
import io
import json
import math

import optuna

from search.reporting.leaderboard import Summary, summarize
from search.reporting.pages.tables import COLUMNS, leaderboard_frame, to_csv, to_json
from tests.reporting.studies import complete, study_of


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_the_csv_holds_every_valid_architecture(summary: Summary) -> None:
    table = rows(to_csv(leaderboard_frame(summary)))

    assert [int(row["trial"]) for row in table] == [e.trial.number for e in summary.entries]
    for row, entry in zip(table, summary.entries, strict=True):
        assert float(row["validation_accuracy"]) == entry.accuracy
        assert int(row["parameters"]) == entry.parameters
        assert float(row["learning_rate"]) == entry.description.learning_rate
        assert entry.interval is not None
        assert float(row["interval_low"]) == round(entry.interval.low, 6)
        assert row["check: ≤ 20 epochs"] == "yes"
        assert tuple(map(int, row["widths"].split())) == entry.description.widths


def test_what_is_not_known_is_empty() -> None:
    summary = summarize(study_of([complete()], settings=None))
    row = rows(to_csv(leaderboard_frame(summary)))[0]

    for column in ("interval_low", "macs", "learning_rate", "dropout", "widths"):
        assert row[column] == ""
    assert "check: BatchNorm" not in row, "nobody says that these are images of the exercise"
    assert row["tied_with_rank"] == ""


def test_an_empty_csv_has_its_header() -> None:
    text = to_csv(leaderboard_frame(summarize(study_of([]))))

    assert text.strip().split(",") == list(COLUMNS)


def test_a_spreadsheet_gets_no_formula() -> None:
    trials = [complete(label="=1+1", architecture='@SUM(A1) "x", y')]
    row = rows(to_csv(leaderboard_frame(summarize(study_of(trials)))))[0]

    assert row["label"] == "'=1+1"
    assert row["architecture"] == '\'@SUM(A1) "x", y'


def test_the_json_holds_every_trial_once(summary: Summary) -> None:
    data = json.loads(to_json(summary))

    assert data["format"] == 4
    assert [trial["number"] for trial in data["trials"]] == list(range(60))
    assert data["counts"]["complete"] + data["counts"]["over budget"] > 30
    best = data["entries"][0]
    assert best["trial"] == data["trials"][int(best["trial"])]["name"]
    assert best["layers"][-1]["output_shape"] == [10]
    assert data["verdict"]["best"] == best["trial"]
    assert data["references"] == ["0", "1", "2"]
    assert data["user_candidates"] == []


def test_the_json_is_strict_whatever_the_study_holds() -> None:
    odd = {"kind": optuna.distributions.CategoricalDistribution([math.inf, None, "x"])}
    trials = [
        complete(accuracy=math.inf, validation_loss=math.nan),
        complete(params={"kind": math.inf}, distributions=odd),
    ]
    text = to_json(summarize(study_of(trials)))

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    assert json.loads(text, parse_constant=refuse)["trials"][1]["params"] == {"kind": None}
