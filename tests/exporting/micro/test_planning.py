"""Activations share one block of memory, and none is overwritten while it is needed."""

from __future__ import annotations

import random

import numpy as np
import pytest

from search.exporting.micro.graph import Graph, Operator, Tensor
from search.exporting.micro.planning import plan


def tensor(values: int) -> Tensor:
    return Tensor(shape=(1, values), type=np.int8, data=None, scales=np.array([]), zero=0)


def operator(kind: str, inputs: tuple[int, ...], output: int) -> Operator:
    return Operator(kind=kind, inputs=inputs, outputs=(output,), options={})


def drawn(chance: random.Random) -> Graph:
    """Each operator reads one or two of what there is; some show what they read."""
    tensors, operators = [tensor(chance.randint(1, 99))], []
    for output in range(1, chance.randint(2, 12)):
        inputs = tuple(chance.sample(range(output), k=min(output, chance.randint(1, 2))))
        view = len(inputs) == 1 and chance.random() < 0.3
        values = tensors[inputs[0]].values if view else chance.randint(1, 99)
        tensors.append(tensor(values))
        operators.append(operator("RESHAPE" if view else "ADD", inputs, output))
    return Graph(
        tensors=tuple(tensors), operators=tuple(operators), input=0, output=len(tensors) - 1
    )


@pytest.mark.parametrize("seed", range(200))
def test_nothing_is_overwritten_before_its_last_use(seed: int) -> None:
    """Every tensor is filled with its own number, and still holds it when it is read."""
    graph = drawn(random.Random(seed))
    found = plan(graph)
    memory = np.full(found.bytes, -1)
    holds: dict[int, int] = {}

    def fill(index: int, mark: int) -> None:
        at = found.offsets[index]
        assert at >= 0 and at + graph.tensors[index].bytes <= found.bytes
        memory[at : at + graph.tensors[index].bytes] = mark
        holds[index] = mark

    def check(index: int) -> None:
        at = found.offsets[index]
        assert (memory[at : at + graph.tensors[index].bytes] == holds[index]).all()

    fill(graph.input, 0)
    for step in graph.operators:
        for index in step.inputs:
            assert index is not None
            check(index)
        (output,) = step.outputs
        if step.kind == "RESHAPE":
            holds[output] = holds[step.inputs[0] or 0]
        else:
            fill(output, output)
            for index in step.inputs:
                check(index or 0)
    check(graph.output)


def test_a_chain_takes_the_largest_neighbours() -> None:
    sizes = [10, 40, 30, 5, 60, 1]
    graph = Graph(
        tensors=tuple(map(tensor, sizes)),
        operators=tuple(operator("ADD", (i,), i + 1) for i in range(5)),
        input=0,
        output=5,
    )
    assert plan(graph).bytes == 70
