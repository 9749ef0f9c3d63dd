"""Limits that nothing meets are told before the first trial, with the smallest that would do."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from objective import Limits
from search.architecture.feasibility import (
    _draws,
    _excess,
    describe_space,
    first_candidate,
    refuse_unreachable,
)
from search.architecture.spaces import Space, SpaceFile, read_space
from search.common.errors import UserError
from search.data.problem import MNIST_PROBLEM
from tests.helpers.draws import simplest, space_of
from tests.study.transfer.spaces import FIRST
from tests.study.transfer.spaces import space_of as space_in


def below(limits: Limits) -> Space:
    return replace(space_of(), limits=limits)


@pytest.mark.parametrize(
    ("limits", "named"),
    [
        (Limits(max_params=1), {"--max-params"}),
        (Limits(max_params=121), {"--max-params"}),
        (Limits(max_macs=1), {"--max-macs"}),
        (Limits(max_params=5_000, max_macs=20_000), {"--max-macs"}),
        (Limits(max_params=1, max_macs=1), {"--max-params", "--max-macs"}),
        (Limits(max_ram=100), {"--max-ram"}),
        (Limits(max_flash=100), {"--max-flash"}),
        (Limits(max_ram=1, max_flash=1), {"--max-ram", "--max-flash"}),
    ],
)
def test_a_limit_that_nothing_meets_is_refused_and_the_one_that_is_named_will_do(
    limits: Limits, named: set[str]
) -> None:
    with pytest.raises(UserError) as raised:
        refuse_unreachable(below(limits))
    given = dict(re.findall(r"(--max-\w+) (\d+)", str(raised.value)))
    assert given.keys() == named
    enough = replace(
        limits, **{name[2:].replace("-", "_"): int(limit) for name, limit in given.items()}
    )
    refuse_unreachable(below(enough))
    first = first_candidate(below(enough))
    costs = next(costs for params, costs in _draws(below(enough)) if params == first)
    assert _excess(costs, enough) <= 0, "the first trial is within the limits"


@pytest.mark.parametrize(
    "limits",
    [
        *(Limits(), Limits(max_params=400), Limits(max_macs=10**18)),
        *(Limits(max_ram=6_000), Limits(max_flash=800)),
    ],
)
def test_a_limit_that_something_meets_is_not(limits: Limits) -> None:
    refuse_unreachable(below(limits))


def test_a_search_starts_as_before_where_that_is_within_the_limits() -> None:
    for limits in (Limits(), Limits(max_params=5_000), Limits(max_params=1_000)):
        assert first_candidate(below(limits)) == simplest()


def test_the_simplest_candidate_is_at_low_ends_and_in_the_middle_of_ranges() -> None:
    kinds = describe_space(below(Limits()))
    for name, value in simplest().items():
        kind = json.loads(kinds[name])
        low, high = kind["attributes"]["low"], kind["attributes"]["high"]
        assert value == low if kind["name"] == "IntDistribution" else low < value < high


def test_the_description_of_a_space_changes_with_a_range() -> None:
    texts = [
        f"def suggest(trial, problem, limits):\n    trial.suggest_float('x', 0, {high})\n"
        "    from search.candidates.candidate import Candidate\n"
        "    return Candidate(build=list, name='')\n"
        for high in (1, 1, 2)
    ]
    one, same, other = (
        describe_space(
            Space(
                file=SpaceFile(name="x.py", source=text, digest=""),
                problem=MNIST_PROBLEM,
                limits=Limits(),
            )
        )
        for text in texts
    )
    assert one == same != other
    assert json.loads(one["x"])["name"] == "FloatDistribution"


def test_a_space_that_always_raises_is_told_and_one_that_sometimes_does_is_searched() -> None:
    text = (
        "from search.candidates.candidate import Candidate\nfrom torch import nn\n"
        "def suggest(trial, problem, limits):\n    x = trial.suggest_int('x', 0, 9)\n"
        "    if x < {least}:\n        raise ValueError('too small')\n"
        "    def build():\n        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
        "    return Candidate(build=build, name='')\n"
    )

    def mine(least: int) -> Space:
        file = SpaceFile(name="x.py", source=text.replace("{least}", str(least)), digest="")
        return Space(file=file, problem=MNIST_PROBLEM, limits=Limits())

    with pytest.raises(UserError, match="x.py:6: ValueError: too small"):
        refuse_unreachable(mine(10))


def written(tmp_path: Path, draws: str) -> Space:
    return space_in(tmp_path, FIRST + draws)


def test_a_space_may_prune_a_draw(tmp_path: Path) -> None:
    """Optuna's own idiom, also where it meets the draw by which the space is described."""
    prune = "    import optuna\n    if width %s 10:\n        raise optuna.TrialPruned\n"
    for wrong in (prune % "<", prune % ">"):
        space = written(tmp_path, wrong)
        assert {"width", "activation", "rate"} <= describe_space(space).keys()
        refuse_unreachable(space)
    space = written(tmp_path, prune % "!=" + prune % "==")
    with pytest.raises(UserError, match=r"mine\.py:\d+: whatever is drawn, suggest raises"):
        refuse_unreachable(space)


@pytest.mark.filterwarnings("ignore:Choices for a categorical")
def test_choices_that_a_study_cannot_record_are_named(tmp_path: Path) -> None:
    space = written(tmp_path, '    trial.suggest_categorical("act", [nn.ReLU, nn.GELU])\n')
    with pytest.raises(UserError, match=r"mine\.py:\d+: a choice of act is <class .*ReLU"):
        describe_space(space)


def test_a_network_without_a_parameter_is_refused_before_the_first_trial(tmp_path: Path) -> None:
    space = written(tmp_path, "")
    text = space.file.path.read_text().replace("nn.Linear(width, problem.classes)", "nn.Identity()")
    text = text.replace("nn.Linear(16, width), activation()", "nn.AdaptiveAvgPool1d(10)")
    space.file.path.write_text(text)
    with pytest.raises(UserError, match="the network has no parameter that could be trained"):
        refuse_unreachable(replace(space, file=read_space(space.file.path)))
