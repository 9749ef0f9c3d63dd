"""The public systems are exactly what is known of them."""

from __future__ import annotations

import pytest
import torch

from search.architecture.building import build
from search.architecture.candidate import LayeredCandidate
from search.architecture.counting import count_parameters, layer_table
from search.architecture.layers import Conv
from search.architecture.references import REFERENCES


@pytest.mark.parametrize(
    ("key", "parameters"),
    [
        ("narrow-8k", 8_932),
        ("gap-1x1-19k", 19_664),
        ("valid-conv-18k", 17_890),
        ("adaptive-pool-18k", 18_406),
        ("wide-vgg", 6_379_786),
    ],
)
def test_parameter_counts(key: str, parameters: int) -> None:
    candidate = REFERENCES[key].candidate
    assert count_parameters(candidate) == parameters
    assert LayeredCandidate.from_json(candidate.to_json()) == candidate


def test_the_other_reading_of_valid_conv_has_biases() -> None:
    from dataclasses import replace

    candidate = REFERENCES["valid-conv-18k"].candidate
    layers = tuple(
        replace(layer, bias=True) if isinstance(layer, Conv) else layer
        for layer in candidate.layers
    )
    assert count_parameters(replace(candidate, layers=layers)) == 17_994


@pytest.mark.parametrize(
    ("key", "sides"),
    [
        ("narrow-8k", [26, 24, 22, 11, 11, 9, 7, 7, 7]),
        ("gap-1x1-19k", [26, 24, 12, 12, 10, 8]),
        ("valid-conv-18k", [26, 24, 12, 10, 8, 4, 2]),
    ],
)
def test_feature_map_sizes(key: str, sides: list[int]) -> None:
    table = layer_table(REFERENCES[key].candidate)
    assert [row.output_shape[1] for row in table[:-1]] == sides


@pytest.mark.parametrize("key", [key for key in REFERENCES if key != "wide-vgg"])
def test_they_can_be_built_and_run(key: str) -> None:
    model = build(REFERENCES[key].candidate).eval()
    assert model(torch.zeros(2, 1, 28, 28)).shape == (2, 10)
