"""What a program in C declares, and the numbers in it."""

from __future__ import annotations

import numpy as np
import pytest

from search.exporting.micro.c.declarations import Declarations, multiplier_of, number_text


def test_weights_of_a_layer_that_is_used_twice_are_declared_and_counted_once() -> None:
    declared, values = Declarations(), np.arange(6, dtype=np.int8).reshape(2, 3)
    names = [declared.weights(f"weights_{number}", "int8_t", values) for number in (0, 4)]
    assert names == ["weights_0", "weights_0"]
    assert declared.weights("weights_5", "int8_t", values + 1) == "weights_5"
    declared.array("bias_0", "int32_t", [1, 2])
    assert declared.flash == 6 + 6 + 2 * 4
    assert [text.split()[3] for text in declared.constants] == [
        *("weights_0[6]", "weights_5[6]", "bias_0[2]"),
    ]


@pytest.mark.parametrize("factor", [1e-9, 3.7e-4, 0.5, 1 - 2**-40, 1.0, 6.02])
def test_a_factor_is_kept_to_31_bits(factor: float) -> None:
    multiplier, shift = multiplier_of(factor)
    assert 2**30 <= multiplier < 2**31
    assert multiplier * 2.0 ** (shift - 31) == pytest.approx(factor, rel=2**-31)


def test_numbers_are_those_of_c() -> None:
    numbers = (3, -2.0, 0.1, 1e-20, float("inf"), -float("inf"))
    assert [number_text(number) for number in numbers] == [
        *("3", "-2.0f", "0.1f", "1e-20f", "INFINITY", "-INFINITY"),
    ]
