"""What the compiled kernels calculate with: bfloat16 as bits, and the hash behind dropout.

Kernels are written once for three types of elements. One in memory is bfloat16 (numba has no such
type: its bits as uint16), float32 or float64; the arithmetic between load and store is float32,
float32 and float64. ``widen`` and ``narrow`` go from the one to the other and choose by type while
compiling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numba
import numpy as np
from numba import njit, types
from numba.extending import intrinsic, overload

F = TypeVar("F", bound=Callable[..., Any])

carray: Any = getattr(numba, "carray")  # noqa: B009

# "contract" lets a product and a sum become one instruction. Nothing here may assume that a
# number is finite: the network of a diverged training has to show that it is not.
OPTIONS: Any = {"error_model": "numpy", "fastmath": {"contract"}}
# Sums in any order, fixed when compiled: vector registers then hold partial ones.
SUMS: Any = {"error_model": "numpy", "fastmath": {"contract", "reassoc", "nsz"}}


def compiled(function: F) -> F:
    """A function that kernels call; LLVM inlines it into them."""
    wrapped: F = njit(**OPTIONS)(function)
    return wrapped


def compiled_sum(function: F) -> F:
    """The same for a function whose loop is a sum."""
    wrapped: F = njit(**SUMS)(function)
    return wrapped


def by_type(function: F) -> Callable[[F], F]:
    """Gives `function` its meaning inside compiled code, by the types of the arguments."""
    decorate: Callable[[F], F] = overload(function, jit_options=OPTIONS, strict=False)
    return decorate


def _bit_cast(source: Any, target: Any) -> Any:
    """A compiled function from one type to another of the same size, keeping the bits."""

    def cast(_typing: Any, _value: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            return builder.bitcast(arguments[0], context.get_value_type(target))

        return target(source), generate

    return intrinsic(cast)


_float_of_bits = _bit_cast(types.uint32, types.float32)
_bits_of_float = _bit_cast(types.float32, types.uint32)


def _load_at(_typing, element, address):  # type: ignore[no-untyped-def]

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        kind = context.get_value_type(element)
        pointer = builder.inttoptr(arguments[1], kind.as_pointer())
        return builder.load(pointer, align=1)

    return element(element, types.int64), generate


def _store_at(_typing, address, value):  # type: ignore[no-untyped-def]

    def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        pointer = builder.inttoptr(arguments[0], arguments[1].type.as_pointer())
        builder.store(arguments[1], pointer, align=1)
        return context.get_dummy_value()

    return types.void(types.int64, value), generate


load_at: Any = intrinsic(_load_at)  # (element, address): what lies there, of element's type
store_at: Any = intrinsic(_store_at)  # (address, value)


@compiled
def narrow_bits(number: Any) -> Any:
    """The bits of the nearest bfloat16, ties to even."""
    bits = _bits_of_float(number)
    half = np.uint32(0x7FFF) + ((bits >> np.uint32(16)) & np.uint32(1))
    return np.uint16((bits + half) >> np.uint32(16))


def widen(element: Any) -> Any:
    """An element as the number to calculate with; bfloat16 is the upper half of a float32."""
    raise NotImplementedError("only inside compiled code")


def narrow(number: Any, out: Any) -> Any:
    """A number as an element of the array `out`."""
    raise NotImplementedError("only inside compiled code")


def size_of(element: Any) -> Any:
    """The bytes of an element."""
    raise NotImplementedError("only inside compiled code")


@by_type(size_of)
def _size_of(element: Any) -> Any:
    size = element.bitwidth // 8
    return lambda element: size


@by_type(widen)
def _widen(element: Any) -> Any:
    if element == types.uint16:
        return lambda element: _float_of_bits(np.uint32(np.uint32(element) << np.uint32(16)))
    return lambda element: element


@by_type(narrow)
def _narrow(number: Any, out: Any) -> Any:
    if out.dtype == types.uint16:
        return lambda number, out: narrow_bits(number)
    return lambda number, out: number


@compiled
def hash32(counter: Any) -> Any:
    """Mixes 32 bits: ``lowbias32`` of Chris Wellons' hash-prospector (public domain).

    Constants 0x7feb352d and 0x846ca68b with shifts 16, 15, 16, a bijection of bias 0.174:
    https://nullprogram.com/blog/2018/07/31/
    """
    bits = np.uint32(counter)
    bits = np.uint32(bits ^ (bits >> np.uint32(16)))
    bits = np.uint32(bits * np.uint32(0x7FEB352D))
    bits = np.uint32(bits ^ (bits >> np.uint32(15)))
    bits = np.uint32(bits * np.uint32(0x846CA68B))
    return np.uint32(bits ^ (bits >> np.uint32(16)))


@compiled
def dropped(key: Any, place: Any, threshold: Any) -> Any:
    """Whether dropout zeroes the value at a place; true for a share threshold / 2^32 of them."""
    return hash32(np.uint32(key) + np.uint32(place)) < threshold
