"""The card of an exported network says what its figures leave open."""

from __future__ import annotations

import pytest

from search.architecture.candidate import LayeredCandidate
from search.architecture.counting import count_macs, count_parameters, layer_table
from search.architecture.layers import TTA, Conv, Deskew
from search.data.problem import MNIST_PROBLEM, Problem
from search.exporting.card import Origin, Sizes, model_card
from search.exporting.checks import Measured
from search.reporting.candidates import layer_lines

PLAIN = LayeredCandidate(layers=(Conv(width=8), Conv(width=12)))
ROTATED = LayeredCandidate(layers=(Conv(width=8, rotated=True),))
VIEWS = LayeredCandidate(layers=(Deskew(), TTA(), Conv(width=8)))


def card(candidate: LayeredCandidate, problem: Problem = MNIST_PROBLEM) -> str:
    origin = Origin(
        study="s",
        trial=3,
        architecture=candidate.one_line(),
        layers=layer_lines(layer_table(candidate)),
        recipe=[("learning rate", "0.1")],
        epochs=20,
        seed=1,
        device="cpu",
        commit="abc",
        versions={"torch": "2"},
        problem=problem,
        train_images=50_000,
        max_params=5_000,
        space="",
        retrained=False,
        reproduce="python search/reproduce.py 3 --study s",
        export="python search/export.py --trial 3 --study s",
    )
    measured = Measured(
        images=10_000,
        recorded=9_950,
        float32=9_950,
        onnx=9_950,
        int8=9_940,
        largest_difference=1e-5,
        largest_logit=20.0,
        other_classes=0,
        other_classes_int8=3,
    )
    sizes = Sizes(
        parameters=count_parameters(candidate),
        macs=count_macs(candidate),
        peak_activation_bytes=400,
        peak_activation_bytes_int8=100,
        weight_bytes=4_000,
        weight_bytes_int8=1_000,
        files={"model.py": 5},
    )
    return model_card(origin, measured, sizes)


@pytest.mark.parametrize(
    ("sentence", "of"),
    [("have every rotation written out", ROTATED), ("compute the three as one batch", VIEWS)],
)
def test_what_the_files_compute_otherwise_is_said_where_it_holds(
    sentence: str, of: LayeredCandidate
) -> None:
    for candidate in (PLAIN, ROTATED, VIEWS):
        assert (sentence in card(candidate)) == (candidate is of)


def test_only_mnist_is_said_to_show_upright_figures() -> None:
    digits, other = (
        card(PLAIN),
        card(PLAIN, Problem(name="we|ird *x*", class_names=("a", "b", "c"))),
    )
    assert "one centred, upright, bright figure on a dark" in digits
    assert "10 classes of MNIST" in digits
    assert "3 classes of we\\|ird \\*x\\*" in " ".join(other.split())
    assert "# [N], from 0 to 2" in other
    for word in ("digits", "bright figure", "upright", "MNIST", "ten classes"):
        assert word not in other
