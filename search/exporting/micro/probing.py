"""Which layer of a network a microcontroller cannot compute, where the whole does not convert."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Interpreter, Node

from search.common.errors import UserError
from search.exporting.micro.converting import to_float32
from search.exporting.micro.interpreter import try_out


def refuse_layer(core: GraphModule, example: Tensor) -> None:
    """Convert and run each operator of a network alone; refuse the first layer that fails.

    Args:
        core: As ``rewriting.rewritten`` gives it.
        example: What it takes, for a batch of one.

    Raises:
        UserError: If one fails; it names the layer and the reason.
    """
    values = _Values(core)
    with torch.no_grad():
        values.run(example)
    tried = set()
    for node in core.graph.nodes:
        given = values.of(node)
        if not all(isinstance(value, Tensor) for value in given):  # parts of a split, for instance
            continue
        key = str((node.target, node.args, [value.shape for value in given]))
        if node.op != "call_function" or not node.meta.get("nn_module_stack") or key in tried:
            continue
        tried.add(key)
        alone = _alone(core, node)
        try:
            try_out(to_float32(alone, tuple(given), channels_last=False))
        except UserError as error:
            path, kind = list(node.meta["nn_module_stack"].values())[-1]
            kind = kind.rsplit(".", 1)[-1] if isinstance(kind, str) else kind.__name__
            where = f"layer {path} ({kind})" if path else kind
            raise UserError(
                f"{where} cannot be computed on a microcontroller: {error.message}", error.hint
            ) from None


class _Values(Interpreter):
    """What each node of a graph gives for an example."""

    def __init__(self, core: GraphModule) -> None:
        super().__init__(core, garbage_collect_values=False)

    def of(self, node: Node) -> list[Any]:
        """What a node takes, its weights aside."""
        return [self.env[given] for given in _given(node)]


def _given(node: Node) -> Iterator[Node]:
    return (given for given in node.all_input_nodes if given.op != "get_attr")


def _alone(core: GraphModule, node: Node) -> GraphModule:
    """A graph of one node, whose activations are its arguments."""
    graph = Graph()
    known: dict[Node, Any] = {}
    for given in node.all_input_nodes:
        if given.op == "get_attr":
            known[given] = graph.get_attr(str(given.target))
    for given in _given(node):
        known[given] = graph.placeholder(given.name)
    graph.output(graph.node_copy(node, lambda given: known[given]))
    with contextlib.suppress(RuntimeError):  # of parameters that nothing uses
        graph.lint()
    return GraphModule(core, graph)
