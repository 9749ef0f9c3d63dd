"""Limits that nothing meets are told before the first trial, with the smallest that would do."""

from __future__ import annotations

import re

import pytest

from objective import Limits
from search.architecture.feasibility import (
    _draws,
    _excess,
    first_candidate,
    refuse_unreachable,
)
from search.architecture.spaces import Space
from search.common.errors import UserError
from tests.helpers.draws import simplest, space_of


def below(limits: Limits) -> Space:
    return space_of(limits.max_params, limits.max_macs)


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        (Limits(max_params=1), {"--max-params"}),
        (Limits(max_params=221), {"--max-params"}),
        (Limits(max_macs=1), {"--max-macs"}),
        (Limits(max_params=5_000, max_macs=30_000), {"--max-macs"}),
        (Limits(max_params=1, max_macs=1), {"--max-params", "--max-macs"}),
    ],
)
def test_a_limit_that_nothing_meets_is_refused_and_the_one_that_is_named_will_do(
    limits: Limits, named: set[str]
) -> None:
    with pytest.raises(UserError) as raised:
        refuse_unreachable(below(limits))
    given = dict(re.findall(r"(--max-\w+) (\d+)", str(raised.value)))
    assert given.keys() == named
    enough = Limits(
        max_params=int(given.get("--max-params", limits.max_params)),
        max_macs=int(given["--max-macs"]) if "--max-macs" in given else limits.max_macs,
    )
    refuse_unreachable(below(enough))
    cost = next(
        c for params, c in _draws(below(enough)) if params == first_candidate(below(enough))
    )
    assert _excess(cost, enough) <= 0, "the first trial is within the limits"


@pytest.mark.parametrize("limits", [Limits(), Limits(max_params=300), Limits(max_macs=10**18)])
def test_a_limit_that_something_meets_is_not(limits: Limits) -> None:
    refuse_unreachable(below(limits))


def test_a_search_starts_as_before_where_that_is_within_the_limits() -> None:
    for limits in (Limits(), Limits(max_params=5_000), Limits(max_params=324)):
        assert first_candidate(below(limits)) == simplest(limits.max_params)
