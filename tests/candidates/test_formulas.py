"""The formulas of candidates made of layers say what a run measures."""

from __future__ import annotations

import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.architecture.building import build
from search.architecture.candidate import LayeredCandidate
from search.architecture.counting import (
    count_macs,
    count_parameters,
    flash_bytes,
    peak_activation_bytes,
)
from search.architecture.layers import HEADS, TTA, Conv, Deskew, Dropout, Head, Pool
from search.architecture.references import REFERENCES
from search.candidates.measuring import measure
from tests.helpers.draws import draw

GREY = (1, 28, 28)


def assert_as_the_formula_says(candidate: LayeredCandidate) -> None:
    found = measure(lambda: build(candidate), GREY, candidate.head.classes)
    assert found.parameters == count_parameters(candidate)
    assert found.macs == count_macs(candidate)
    assert found.peak_activation_bytes == peak_activation_bytes(candidate)
    assert found.flash_bytes == flash_bytes(candidate)
    assert sum(row.parameters for row in found.layers) == found.parameters
    assert sum(row.macs for row in found.layers) == found.macs
    largest = max(row.input_values + row.output_values for row in found.layers)
    assert 4 * largest == found.peak_activation_bytes  # of a plain sequence


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=60, deadline=None)
def test_candidates_of_layers_cost_what_their_formula_says(seed: int) -> None:
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed))
    assert_as_the_formula_says(draw(study.ask()))


@pytest.mark.parametrize("key", REFERENCES)
def test_references_cost_what_their_formula_says(key: str) -> None:
    assert_as_the_formula_says(REFERENCES[key].candidate)


@pytest.mark.parametrize("kind", HEADS)
@pytest.mark.parametrize("before", [(), (Deskew(),), (TTA(),), (Deskew(), TTA())])
@pytest.mark.parametrize("conv", [Conv(width=8, rotated=True), Conv(width=6, early_pool=True)])
def test_every_layer_costs_what_its_formula_says(
    kind: str, before: tuple[Deskew | TTA, ...], conv: Conv
) -> None:
    layers = (*before, conv, Dropout(rate=0.1), Pool(), Conv(width=8, rotated=True, bias=True))
    assert_as_the_formula_says(LayeredCandidate(layers=layers, head=Head(kind=kind)))


@pytest.mark.parametrize(
    ("candidate", "values"),
    [
        # pooling reads 8×26×26 and writes 8×13×13, more than the image
        (LayeredCandidate(layers=(Conv(width=8, early_pool=True),)), 8 * 26**2 + 8 * 13**2),
        # the average of one channel is written, and not yet ten logits
        (LayeredCandidate(layers=()), 28 * 28 + 1),
        # the averages of 1,000 channels, more than the image
        (LayeredCandidate(layers=(Conv(width=1_000),)), 1_000 * 26**2 + 1_000),
        # ten averages of ten small maps
        (LayeredCandidate(layers=(), head=Head(kind="conv-gap")), 784 + 7_840),
        # a thousand averages, where nine values came in
        (
            LayeredCandidate(layers=(Pool(),) * 3, head=Head(kind="conv-gap", classes=1_000)),
            9_000 + 1_000,
        ),
    ],
)
def test_pooling_is_a_step_of_its_own(candidate: LayeredCandidate, values: int) -> None:
    assert peak_activation_bytes(candidate) == 4 * values
    assert_as_the_formula_says(candidate)
