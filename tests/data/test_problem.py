"""What belongs to MNIST alone, asked of located data and of what studies record."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from search.data.dataset import DataSource
from search.data.problem import Problem, numbered, problem_of, recorded_problem


def source(name: str, classes: int = 10) -> DataSource:
    return DataSource(
        folder=Path("/nowhere"),
        name=name,
        description="",
        fingerprint="",
        mean=(0.0,),
        std=(1.0,),
        class_names=numbered(classes),
    )


def other(name: str, classes: int = 10, target: float | None = None) -> Problem:
    """Of a study that records no statistics."""
    names = numbered(classes)
    return Problem(name=name, class_names=names, mean=(), std=(), target=target)


def test_only_mnist_has_a_target_of_its_own_and_is_handwriting() -> None:
    digits, clothes = problem_of(source("MNIST")), problem_of(source("clothes", 3))
    assert (digits.target, digits.is_mnist, digits.handwriting) == (0.994, True, True)
    assert "figure" in digits.looks
    assert (clothes.name, clothes.classes, clothes.target) == ("clothes", 3, None)
    assert (clothes.is_mnist, clothes.handwriting, clothes.looks) == (False, False, "")
    assert problem_of(source("altered MNIST")).target is None
    assert [problem_of(source(n), target=0.9).target for n in ("MNIST", "x")] == [0.9, 0.9]


@pytest.mark.parametrize(
    ("dataset", "target", "expected"),
    [
        ({"name": "MNIST"}, 0.994, Problem(name="MNIST", target=0.994)),
        ({"name": "clothes"}, 0.994, other("clothes")),  # nobody asked for it
        ({"name": "x", "classes": 3}, 0.9, other("x", 3, 0.9)),
        ({"name": "x", "classes": 3}, None, other("x", 3)),
        ({"name": "x", "classes": "3"}, math.nan, other("x")),
        ({"name": "x", "classes": 3}, 99.4, other("x", 3)),
        ("x", 0.994, other("")),
        (None, True, other("")),
    ],
)
def test_a_study_says_what_was_asked_for_and_nothing_is_made_up(
    dataset: Any, target: Any, expected: Problem
) -> None:
    assert recorded_problem({"dataset": dataset, "target": target}) == expected
