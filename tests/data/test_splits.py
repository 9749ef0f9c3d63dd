"""Stratified orders, and what is said and refused of classes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from search.data.splits import stratified_order, uneven, validation_size

COUNTS = st.lists(st.integers(1, 40), min_size=1, max_size=8)


@given(counts=COUNTS, seed=st.integers(0, 5))
@settings(max_examples=150, deadline=None)
def test_every_stretch_from_an_end_is_stratified_to_within_an_image(
    counts: list[int], seed: int
) -> None:
    labels = np.random.default_rng(0).permutation(np.repeat(np.arange(len(counts)), counts))
    order = stratified_order(labels, seed)
    assert sorted(order) == list(range(len(labels)))
    share = np.array(counts) / len(labels)
    of = np.eye(len(counts))[labels[order]]
    for stretch in (of, of[::-1]):
        found = np.cumsum(stretch, axis=0)
        wanted = np.outer(np.arange(1, len(labels) + 1), share)
        assert np.abs(found - wanted).max() < 1 + 1e-9


def test_it_depends_on_the_seed_and_is_the_same_on_every_machine() -> None:
    labels = np.arange(30) % 3
    assert stratified_order(labels, 0).tolist() != stratified_order(labels, 1).tolist()
    assert stratified_order(labels, 0)[:6].tolist() == stratified_order(labels)[:6].tolist()
    assert stratified_order(labels)[:6].tolist() == [24, 28, 2, 27, 13, 26]


def test_images_of_one_class_come_in_a_random_order() -> None:
    order = stratified_order(np.zeros(100, dtype=int))
    assert order.tolist() != sorted(order)


@pytest.mark.parametrize(
    ("counts", "said"), [((10, 10), False), ((15, 10), False), ((16, 10), True), ((), False)]
)
def test_classes_are_uneven_from_half_as_many_again(counts: tuple[int, ...], said: bool) -> None:
    assert uneven(counts) == said


def test_a_sixth_validates() -> None:
    assert [validation_size(n) for n in (60, 61, 600_000)] == [10, 10, 10_000]
