"""What the model draws and proposes, in every kind of range."""

from __future__ import annotations

import random

from optuna.distributions import FloatDistribution
from optuna.trial import create_trial

from search.study.sampling.surrogate import anywhere, changed, encoded, propose
from tests.study.sampling.test_racing import SPACE


def test_what_is_drawn_or_changed_lies_in_its_range() -> None:
    """Optuna would else draw it anew at random, without a word."""
    draw = random.Random(1)
    params = anywhere(SPACE, draw)
    for _ in range(300):
        params = changed(SPACE, params, draw)
        for drawn in (params, anywhere(SPACE, draw)):
            create_trial(value=0.0, params=drawn, distributions=SPACE)  # refuses what does not
            assert all(0 <= number <= 1 for number in encoded(SPACE, drawn))
    seen = [anywhere(SPACE, draw) for _ in range(300)]
    for name, count in {"depth": 5, "even": 10, "step": 5, "kind": 3, "fixed": 1}.items():
        assert len({drawn[name] for drawn in seen}) == count


def test_it_proposes_near_the_best_and_not_what_is_running() -> None:
    space = {name: FloatDistribution(0, 1) for name in "xyz"}
    draw = random.Random(2)
    points = [anywhere(space, draw) for _ in range(60)]
    known = [(at, -sum((value - 0.3) ** 2 for value in at.values())) for at in points]
    proposed = propose(space, known, [], random.Random(3))
    assert sum((value - 0.3) ** 2 for value in proposed.values()) < 0.03
    other = propose(space, known, [proposed], random.Random(3))
    assert other != proposed
