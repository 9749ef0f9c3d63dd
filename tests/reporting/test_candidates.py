from __future__ import annotations

import pytest

from search.architecture.counting import count_macs, count_parameters
from search.architecture.references import REFERENCES
from search.reporting.candidates import describe, dropout_text, layers_of, value_text
from search.reporting.records import StudyLimits, TrialRecord, read_trials
from tests.reporting.studies import complete


def record(**arguments: object) -> TrialRecord:
    return read_trials([complete(**arguments)], StudyLimits())[0]  # type: ignore[arg-type]


def test_a_candidate_is_described_from_its_json() -> None:
    about = describe(record(candidate=REFERENCES["narrow-8k"].candidate))

    assert about.learning_rate == 0.1
    assert about.dropout == (0.05,)
    assert about.widths == (4, 4, 8, 8, 16, 16, 16, 16)
    assert about.batch_norm is True
    assert about.head == "conv-gap"
    assert dict(about.recipe)["augmentation"].startswith("rotation 35")
    assert dict(about.recipe)["nesterov"] == "no"


def test_missing_norm_and_dropout_are_seen() -> None:
    about = describe(record(candidate=REFERENCES["wide-vgg"].candidate))

    assert about.batch_norm is False
    assert about.dropout == ()


def test_without_a_candidate_the_parameters_speak() -> None:
    import optuna

    ranges = {
        "width_10": optuna.distributions.IntDistribution(1, 64),
        "width_2": optuna.distributions.IntDistribution(1, 64),
        "dropout": optuna.distributions.FloatDistribution(0, 1),
        "lr": optuna.distributions.FloatDistribution(0, 1),
    }
    params = {"width_10": 32, "width_2": 8, "dropout": 0.1, "lr": 0.02}
    about = describe(record(params=params, distributions=ranges))

    assert about.learning_rate == 0.02
    assert about.widths == (8, 32)
    assert about.dropout == (0.1,)
    assert about.batch_norm is None
    assert about.head is None


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", '{"layers": 5, "head": "x", "recipe": []}', '{"layers": [1, {"op": 2}]}'],
)
def test_a_malformed_candidate_describes_nothing(text: str) -> None:
    trial = complete()
    trial.user_attrs["candidate"] = text
    about = describe(read_trials([trial], StudyLimits())[0])

    assert about.learning_rate is None
    assert about.head is None
    assert layers_of(text) == []


@pytest.mark.parametrize("key", REFERENCES)
def test_layer_tables_sum_to_the_counted_parameters(key: str) -> None:
    candidate = REFERENCES[key].candidate
    layers = layers_of(candidate.to_json())

    assert sum(layer.parameters for layer in layers) == count_parameters(candidate)
    assert sum(layer.macs for layer in layers) == count_macs(candidate)
    assert layers[-1].output_shape == (10,)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "–"),
        (True, "yes"),
        (0.0512345, "0.05123"),
        (7, "7"),
        ([7, 14], "7, 14"),
        ([], "–"),
        ({"max_shift": 1.5, "flip": False}, "max shift 1.5, flip no"),
        ("a\x1b[0m", "a[0m"),
    ],
)
def test_settings_are_written_as_a_person_writes_them(value: object, shown: str) -> None:
    assert value_text(value) == shown


@pytest.mark.parametrize(
    ("rates", "shown"),
    [((), "0"), ((0.05,), "0.05"), ((0.05, 0.1), "0.05–0.1"), ((0.00496,), "0.005")],
)
def test_dropout_in_short(rates: tuple[float, ...], shown: str) -> None:
    assert dropout_text(rates) == shown
