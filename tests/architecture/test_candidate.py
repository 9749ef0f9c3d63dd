"""Candidates of layers: formulas against built models, JSON both ways."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from search.architecture.building import build
from search.architecture.candidate import LayeredCandidate
from search.architecture.counting import (
    DESKEW_MACS,
    count_macs,
    count_parameters,
    layer_table,
    peak_activation_bytes,
)
from search.architecture.layers import (
    HEADS,
    ROTATIONS,
    TTA,
    Conv,
    Deskew,
    Dropout,
    Head,
    Layer,
    Pool,
)
from search.layers.rotated import RotatedConv2d
from search.training.recipe import Augmentation, Recipe

CONVS = st.builds(
    Conv,
    width=st.integers(1, 9),
    kernel=st.sampled_from([1, 3, 5]),
    padding=st.just(0),
    bias=st.booleans(),
    norm=st.booleans(),
    early_pool=st.booleans(),
).map(
    lambda conv: replace(
        conv, padding=conv.kernel // 2 if conv.width % 2 else 0, rotated=conv.width in (4, 8)
    )
)
LAYERS: st.SearchStrategy[Layer] = st.one_of(
    CONVS,
    CONVS,
    st.just(Pool()),
    st.builds(Dropout, rate=st.floats(0, 0.5), channelwise=st.booleans()),
)
SOME_HEADS = st.builds(Head, kind=st.sampled_from(HEADS), bias=st.booleans())
RECIPES = st.builds(
    Recipe,
    learning_rate=st.floats(1e-3, 1.0),
    batch_size=st.integers(1, 512),
    epochs=st.none() | st.integers(1, 30),
    milestones=st.lists(st.integers(1, 20), max_size=3).map(tuple),
    augmentation=st.builds(Augmentation, rotation=st.floats(0, 45)),
)


@st.composite
def candidates(draw: st.DrawFn) -> LayeredCandidate:
    layers = tuple(draw(st.lists(LAYERS, min_size=1, max_size=9)))
    layers = (TTA(), *layers) if draw(st.booleans()) else layers
    layers = (Deskew(), *layers) if draw(st.booleans()) else layers
    return LayeredCandidate(layers=layers, head=draw(SOME_HEADS), recipe=draw(RECIPES))


def built_macs(model: nn.Module) -> int:
    """Multiply-accumulates counted by running the model and looking at every weight's output."""
    counts = []

    def count(module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
        assert isinstance(module, nn.Conv2d | RotatedConv2d | nn.Linear)
        positions = output.numel() // output.shape[1]  # of all views
        times = ROTATIONS if isinstance(module, RotatedConv2d) else 1
        counts.append(times * module.weight.numel() * positions)

    for module in model.modules():
        if isinstance(module, nn.Conv2d | RotatedConv2d | nn.Linear):
            module.register_forward_hook(count)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 1, 28, 28))
    return sum(counts)


@given(candidate=candidates())
@settings(max_examples=300, deadline=None)
def test_formulas_equal_the_built_model(candidate: LayeredCandidate) -> None:
    try:
        parameters = count_parameters(candidate)
    except ValueError as error:
        assert "vanishes" in str(error)
        with pytest.raises((RuntimeError, ValueError)):
            build(candidate).eval()(torch.zeros(1, 1, 28, 28))
        return
    model = build(candidate)
    assert parameters == sum(p.numel() for p in model.parameters())
    of_deskewing = DESKEW_MACS * 28 * 28 * (candidate.layers[0] == Deskew())
    assert count_macs(candidate) == built_macs(model) + of_deskewing
    assert model.eval()(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


@given(candidate=candidates())
@settings(max_examples=100, deadline=None)
def test_json_gives_an_equal_candidate_back(candidate: LayeredCandidate) -> None:
    try:
        layer_table(candidate)
    except ValueError:
        with pytest.raises(ValueError, match="vanishes"):
            LayeredCandidate.from_json(candidate.to_json())
        return
    assert LayeredCandidate.from_json(candidate.to_json()) == candidate


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "list"),
        ('{"layers": [{"op": "exec"}]}', "conv, pool, dropout"),
        ('{"layers": [{"op": "conv"}]}', "width"),
        ('{"layers": [{"op": "conv", "width": "8"}]}', "conv.width must be int"),
        ('{"layers": [{"op": "conv", "width": true}]}', "conv.width must be int"),
        ('{"layers": [{"op": "conv", "width": 0}]}', "must lie in 1..4096"),
        ('{"layers": [{"op": "conv", "width": 8, "stride": 2}]}', "no field 'stride'"),
        ('{"layers": [{"op": "conv", "width": 6, "rotated": true}]}', "a multiple of 4, but got 6"),
        ('{"layers": [], "recipe": {"optimizer": "lion"}}', "sgd, adam, adamw"),
        ('{"layers": [], "recipe": {"learning_rate": -1}}', "learning_rate"),
        ('{"layers": [], "head": {"kind": "mlp"}}', "gap-linear"),
        ('{"layers": [{"op": "pool"}, {"op": "deskew"}]}', "can only be the first layer"),
        ('{"layers": [{"op": "pool"}, {"op": "views"}]}', "only deskew can come before"),
        ('{"layers": [{"op": "views"}, {"op": "views"}]}', "only once"),
        ('{"layers": [{"op": "views"}, {"op": "deskew"}]}', "can only be the first layer"),
        ('{"layers": [], "code": "x"}', "no field 'code'"),
        ('{"layers": [' + ", ".join(['{"op": "pool"}'] * 6) + "]}", "vanishes"),
    ],
)
def test_a_bad_candidate_is_refused_with_the_reason(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LayeredCandidate.from_json(text)


def test_peak_activation_is_the_largest_input_plus_output() -> None:
    candidate = LayeredCandidate(layers=(Conv(width=8), Conv(width=16), Pool()))
    # c16 reads 8x26x26 and writes 16x24x24
    assert peak_activation_bytes(candidate, 1) == 8 * 26**2 + 16 * 24**2
    assert peak_activation_bytes(candidate) == 4 * (8 * 26**2 + 16 * 24**2)


def test_one_line_form() -> None:
    recipe = Recipe(learning_rate=0.03)
    layers = (
        *(
            Deskew(),
            TTA(),
            Conv(width=8, rotated=True),
            Conv(width=16),
            Pool(),
            Dropout(rate=0.05),
            Conv(width=16),
        ),
        *(Conv(width=32, padding=1, early_pool=True), Conv(width=4, kernel=1, bias=True)),
    )
    line = LayeredCandidate(layers=layers, recipe=recipe).one_line()
    assert line == "deskew tta c8r c16 P c16 c32p+P k1:4b | gap-linear | drop 0.05 | sgd 0.03"
    small = LayeredCandidate(layers=(Conv(width=8),), head=Head(kind="depthwise-linear"))
    assert small.layout() == "c8 D" != LayeredCandidate(layers=small.layers).layout()


def test_a_classifier_that_weighs_positions_begins_with_their_average() -> None:
    torch.manual_seed(0)
    model = build(LayeredCandidate(layers=(Conv(width=5),), head=Head(kind="depthwise-linear")))
    assert isinstance(model, nn.Sequential)
    averaging = nn.Sequential(
        *(nn.AdaptiveAvgPool2d(1) if getattr(x, "groups", 1) > 1 else x for x in model)
    )
    images = torch.rand(4, 1, 28, 28)
    torch.testing.assert_close(model(images), averaging(images))
    weighted = model[3]
    assert isinstance(weighted, nn.Conv2d)
    with torch.no_grad():
        weighted.weight[:, :, 0, 0] += 1
    assert not torch.allclose(model(images), averaging(images))


def test_relu_and_pooling_change_places_without_changing_the_function() -> None:
    torch.manual_seed(0)
    candidate = LayeredCandidate(layers=(Conv(width=5), Pool(), Conv(width=6), Pool()))
    model = build(candidate)
    plain = nn.Sequential(
        *(nn.Conv2d(1, 5, 3, bias=False), nn.BatchNorm2d(5), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(5, 6, 3, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 10)),
    )
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        theirs.data.copy_(ours.data)
    images = torch.randn(8, 1, 28, 28)
    a, b = model(images), plain(images)
    assert torch.equal(a, b)
    a.square().sum().backward()
    b.square().sum().backward()
    for ours, theirs in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)  # type: ignore[arg-type]


def test_candidate_json_is_plain() -> None:
    candidate = LayeredCandidate(layers=(Conv(width=8),))
    assert json.loads(candidate.to_json())["layers"][0]["op"] == "conv"


@pytest.mark.parametrize("kind", HEADS)
def test_a_head_has_as_many_outputs_as_there_are_classes(kind: str) -> None:
    ten, three = (
        LayeredCandidate(layers=(Conv(width=4),), head=Head(kind=kind, classes=classes))
        for classes in (10, 3)
    )
    built = build(three)
    assert built(torch.zeros(2, 1, 28, 28)).shape == (2, 3)
    assert count_parameters(three) == sum(p.numel() for p in built.parameters())
    assert layer_table(three)[-1].output_shape == (3,)
    assert LayeredCandidate.from_json(three.to_json()) == three
    assert "classes" not in ten.to_json()  # by its JSON a kept network of ten is found again
