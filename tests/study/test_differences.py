"""What is called different when a study is resumed, older studies' records included."""

from __future__ import annotations

from typing import Any

from search.study.differences import differences

OLD = {"name": "MNIST", "fingerprint": "ed", "train_images": 50_000, "validation_images": 10_000}
NEW = {**OLD, "classes": 10, "input_shape": [1, 28, 28], "mean": [0.13], "split": "last 10,000"}


def settings(dataset: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"seed": 0, "dataset": dataset, "space": {"depth": "1 to 2"}, **more}


def test_equal_settings_do_not_differ() -> None:
    assert differences(settings(NEW), settings(dict(NEW))) == []


def test_what_an_older_study_did_not_record_of_the_same_images_is_no_difference() -> None:
    now = settings(NEW, space_file={"name": "space.py", "digest": "1"})
    assert differences(settings(OLD), now) == []


def test_what_it_did_record_still_counts() -> None:
    fewer = settings({**NEW, "train_images": 100})
    assert differences(settings(OLD), fewer) == [("dataset.train_images", 50_000, 100)]
    space = {**settings(NEW), "space": {"depth": "1 to 3"}}
    assert differences(settings(OLD), space) == [("space.depth", "1 to 2", "1 to 3")]


def test_other_images_differ_in_all_that_they_are() -> None:
    other = settings({**NEW, "name": "x", "fingerprint": "00", "input_shape": [3, 32, 32]})
    named = [name for name, _, _ in differences(settings(OLD), other)]
    assert {"dataset.name", "dataset.fingerprint", "dataset.input_shape"} <= set(named)


def test_another_space_file_is_said_where_both_are_recorded() -> None:
    then = settings(NEW, space_file={"name": "space.py", "digest": "1"})
    now = settings(NEW, space_file={"name": "mine.py", "digest": "2"})
    assert [name for name, _, _ in differences(then, now)] == [
        "space_file.digest",
        "space_file.name",
    ]
