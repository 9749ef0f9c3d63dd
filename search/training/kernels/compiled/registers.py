"""Vector registers for the tiles of ``vectors``: loads, stores, products and loops as LLVM code.

An element of a map is float32 or float64, or bfloat16 as the bits of a uint16: of these the
processor (AVX-512 BF16) multiplies two pairs and adds them to a float32 in one instruction.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import llvmlite.binding
from llvmlite import ir
from numba import types
from numba.core import cgutils

alloca_once: Any = cgutils.alloca_once  # numba leaves these untyped
get_or_insert_function: Any = cgutils.get_or_insert_function
I16, I32, I64, FLOAT = ir.IntType(16), ir.IntType(32), ir.IntType(64), ir.FloatType()


def _vector_bytes() -> int:
    features = llvmlite.binding.get_host_cpu_features()
    if features.get("avx512f"):
        return 64
    return 32 if features.get("avx2") else 16


VECTOR = _vector_bytes()
GROUP = 2 if VECTOR == 32 else 4  # vectors of sums of an output: AVX2 has only 16 registers


class _Bfloat(ir.Type):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite does not name."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Bfloat)

    def __hash__(self) -> int:
        return hash(_Bfloat)


class Emitter:
    """Writes loads, stores, products and loops for maps of float32 or float64."""

    values = 1  # vectors of sums to a vector of a map

    def __init__(self, context: Any, builder: Any, element: Any) -> None:
        self.builder = builder
        self.size = element.bitwidth // 8  # of an element
        self.number = context.get_value_type(element)
        self.width = element.bitwidth // 8  # of a number in sums and starts
        self.setup()

    def setup(self) -> None:
        """Types and products of the kind of map."""
        lanes = VECTOR // self.size
        self.sums = ir.VectorType(self.number, lanes)
        self.suffix = f"v{lanes}f{8 * self.size}"
        self._product = self.declare(f"llvm.fma.{self.suffix}", self.sums, [self.sums] * 3)

    def declare(self, name: str, result: Any, arguments: list[Any]) -> Any:
        """An intrinsic function of LLVM's."""
        kind = ir.FunctionType(result, arguments)
        return get_or_insert_function(self.builder.module, kind, name)

    def plus(self, address: Any, constant: int) -> Any:
        """An address some bytes on."""
        return self.builder.add(address, ir.Constant(I64, constant))

    def times(self, value: Any, constant: int) -> Any:
        """A product with a constant."""
        return self.builder.mul(value, ir.Constant(I64, constant))

    def load(self, address: Any, kind: Any, alignment: int) -> Any:
        """A value from an address."""
        pointer = self.builder.inttoptr(address, kind.as_pointer())
        return self.builder.load(pointer, align=alignment)

    def store(self, value: Any, address: Any, alignment: int) -> None:
        """A value to an address."""
        pointer = self.builder.inttoptr(address, value.type.as_pointer())
        self.builder.store(value, pointer, align=alignment)

    def splat(self, value: Any) -> Any:
        """A vector of one number everywhere."""
        lanes = VECTOR // self.width
        kind = ir.VectorType(value.type, lanes)
        undefined = ir.Constant(kind, ir.Undefined)
        zeros = ir.Constant(ir.VectorType(I32, lanes), [0] * lanes)
        first = self.builder.insert_element(undefined, value, ir.Constant(I32, 0))
        return self.builder.shuffle_vector(first, undefined, zeros)

    def load_start(self, address: Any) -> Any:
        """What the sums of an output begin with, in all lanes."""
        return self.splat(self.load(address, self.number, self.width))

    def load_weight(self, address: Any) -> Any:
        """A weight, in all lanes."""
        return self.load_start(address)

    def load_values(self, x: Any, table: Any, r: Any, group: int) -> list[Any]:
        """The inputs of one line of the table, a vector for each vector of sums."""
        place = self.load(self.builder.add(table, self.times(r, 8)), I64, 8)
        source = self.builder.add(x, place)
        return [self.load_vector(self.plus(source, g * VECTOR)) for g in range(group)]

    def load_vector(self, address: Any) -> Any:
        """The elements of one vector of a map."""
        return self.load(address, self.sums, self.size)

    def store_sums(self, totals: list[Any], address: Any) -> None:
        """The sums of one output as elements of a map, side by side."""
        for g, total in enumerate(totals):
            self.store(self.builder.load(total), self.plus(address, g * VECTOR), self.size)

    def add_product(self, a: Any, b: Any, total: Any) -> None:
        """Add a * b; totals are stack slots that the compiler turns into registers."""
        product = self.builder.call(self._product, [a, b, self.builder.load(total)])
        self.builder.store(product, total)

    def totals(self, rows: int, columns: int) -> list[list[Any]]:
        """Slots for sums, which the compiler turns into registers."""
        return [[alloca_once(self.builder, self.sums) for _ in range(columns)] for _ in range(rows)]

    def sum_of_lanes(self, value: Any) -> Any:
        """One number from a vector, in an order that does not change."""
        name = f"llvm.vector.reduce.fadd.{self.suffix}"
        reduce = self.declare(name, self.number, [self.number, self.sums])
        start = ir.Constant(self.number, -0.0)
        return self.builder.call(reduce, [start, value], fastmath=["reassoc"])

    def switch(self, size: Any, sizes: range, body: Callable[[int], None]) -> None:
        """Run what `body` writes for a size, chosen while running."""
        builder = self.builder
        done = builder.append_basic_block("done")
        choice = builder.switch(size, done)
        for case in sizes:
            block = builder.append_basic_block(f"size{case}")
            choice.add_case(ir.Constant(I64, case), block)
            builder.position_at_end(block)
            body(case)
            builder.branch(done)
        builder.position_at_end(done)


class PairEmitter(Emitter):
    """The same for maps of bfloat16, with sums of float32."""

    values = 2

    def setup(self) -> None:
        """Types and products of the kind of map."""
        self.number, self.width = FLOAT, 4
        self.lanes = VECTOR // 4
        self.sums = ir.VectorType(FLOAT, self.lanes)
        self.suffix = f"v{self.lanes}f32"
        self._bits = ir.VectorType(I16, 2 * self.lanes)
        self._pairs = ir.VectorType(_Bfloat(), 2 * self.lanes)
        name = "llvm.x86.avx512bf16.dpbf16ps.512"
        self._product = self.declare(name, self.sums, [self.sums, self._pairs, self._pairs])

    def load_weight(self, address: Any) -> Any:
        """A weight, in all lanes."""
        return self.builder.bitcast(self.splat(self.load(address, I32, 4)), self._pairs)

    def load_vector(self, address: Any) -> Any:
        """The elements of one vector of a map."""
        return self.load(address, self._pairs, 2)

    def load_values(self, x: Any, table: Any, r: Any, group: int) -> list[Any]:
        """Two inputs side by side; which images a vector has is as ``store_sums`` expects."""
        line = self.builder.add(table, self.times(r, 16))
        one, other = (
            self.builder.add(x, self.load(self.plus(line, shift), I64, 8)) for shift in (0, 8)
        )
        found = []
        for g in range(group // 2):
            a, b = (
                self.load(self.plus(source, g * VECTOR), self._bits, 2) for source in (one, other)
            )
            for half in (0, 4):  # as the unpacking instructions do in each 128 bits
                order = [
                    at
                    for part in range(0, 2 * self.lanes, 8)
                    for i in range(part + half, part + half + 4)
                    for at in (i, i + 2 * self.lanes)
                ]
                mixed = self.builder.shuffle_vector(a, b, self._order(order))
                found.append(self.builder.bitcast(mixed, self._pairs))
        return found

    def store_sums(self, totals: list[Any], address: Any) -> None:
        """The sums of one output as elements of a map, side by side."""
        half = ir.VectorType(_Bfloat(), self.lanes)
        order = [
            (0 if i % 8 < 4 else self.lanes) + i // 8 * 4 + i % 4 for i in range(2 * self.lanes)
        ]
        for g in range(0, len(totals), 2):
            low, high = (
                self.builder.fptrunc(self.builder.load(total), half) for total in totals[g : g + 2]
            )
            value = self.builder.shuffle_vector(low, high, self._order(order))
            self.store(value, self.plus(address, g // 2 * VECTOR), 2)

    def add_product(self, a: Any, b: Any, total: Any) -> None:
        """Add a * b to a total."""
        product = self.builder.call(self._product, [self.builder.load(total), a, b])
        self.builder.store(product, total)

    def _order(self, places: list[int]) -> Any:
        return ir.Constant(ir.VectorType(I32, len(places)), places)


def emitter(context: Any, builder: Any, element: Any) -> Emitter:
    """Writes code for maps of a type of element."""
    kind = PairEmitter if element == types.uint16 else Emitter
    return kind(context, builder, element)
