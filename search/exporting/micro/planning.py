"""Where in one block of memory each activation lies: never over what is still needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from search.exporting.micro.graph import Graph

VIEWS = ("RESHAPE", "SQUEEZE", "EXPAND_DIMS")  # the same numbers in the same order


@dataclass(frozen=True, kw_only=True)
class Plan:
    """The places of the activations."""

    offsets: Mapping[int, int]  # in bytes, by the tensor's index
    bytes: int  # of the block


def plan(graph: Graph) -> Plan:
    """Place all activations; a view lies where what it shows lies."""
    root = {index: index for index, one in enumerate(graph.tensors) if one.data is None}
    for operator in graph.operators:
        if operator.kind in VIEWS and operator.inputs[0] in root:
            root[operator.outputs[0]] = root[operator.inputs[0]]
    last = len(graph.operators)
    first_use, last_use = {root[graph.input]: 0}, {root[graph.output]: last}
    for step, operator in enumerate(graph.operators):
        for index in (*operator.inputs, *operator.outputs):
            if index in root:
                first_use.setdefault(root[index], step)
                last_use[root[index]] = max(step, last_use.get(root[index], step))
    sizes = {index: graph.tensors[index].bytes for index in first_use}
    in_order = sorted(sizes, key=lambda index: first_use[index])
    placed = (
        _alternately(sizes, in_order)
        if len(in_order) > 1
        and all(last_use[a] < first_use[b] for a, b in zip(in_order, in_order[2:], strict=False))
        else _by_size(sizes, first_use, last_use)
    )
    return Plan(
        offsets={index: placed[of] for index, of in root.items() if of in placed},
        bytes=max(placed[index] + sizes[index] for index in placed),
    )


def _alternately(sizes: Mapping[int, int], in_order: Sequence[int]) -> dict[int, int]:
    """Of a chain each second at the lower end, the others at the upper: no plan takes less."""
    most = max(sum(sizes[index] for index in pair) for pair in pairwise(in_order))
    return {index: most - sizes[index] if place % 2 else 0 for place, index in enumerate(in_order)}


def _by_size(
    sizes: Mapping[int, int], first_use: Mapping[int, int], last_use: Mapping[int, int]
) -> dict[int, int]:
    """The largest first, each as low as it fits beside those that live at the same time.

    Source: Pisarchyk and Lee 2020, "Efficient memory management for deep neural net inference",
    section 5.2 (greedy by size).
    """
    placed: dict[int, int] = {}
    for index in sorted(sizes, key=lambda index: (-sizes[index], first_use[index])):
        beside = sorted(
            (placed[other], placed[other] + sizes[other])
            for other in placed
            if first_use[other] <= last_use[index] and first_use[index] <= last_use[other]
        )
        at = 0
        for start, end in beside:
            if at + sizes[index] <= start:
                break
            at = max(at, end)
        placed[index] = at
    return placed
