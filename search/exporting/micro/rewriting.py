"""A trained network as a graph of few, plain operators, which computes the same.

Filters in rotations become plain ones; BatchNorm and ReLU behind max pooling move before it, where
they cost nothing: the converter folds them into the convolution. What TensorFlow Lite Micro has no
operator for is made of those that it has.
"""

from __future__ import annotations

import copy
import math
import operator
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node
from torch.fx.node import map_arg

from search.common.errors import UserError

aten: Any = torch.ops.aten
RELU = (aten.relu.default, aten.relu_.default)
MAX_POOL = aten.max_pool2d.default
CONVOLUTION = aten.conv2d.default
BATCH_NORM = aten.batch_norm.default
AVERAGES = (aten.adaptive_avg_pool2d.default,)
LEAST = 1e-4  # of a channel's bias that its largest weight is
DROPOUT = (aten.dropout.default, aten.dropout_.default, aten.feature_dropout.default)


def rewritten(network: nn.Module, example: tuple[Tensor]) -> GraphModule:
    """The graph of a network in evaluation mode.

    Args:
        network: Trained.
        example: What it takes, for a batch of one.

    Raises:
        UserError: If torch.export cannot follow it.
    """
    try:
        with torch.no_grad():
            made = torch.export.export(copy.deepcopy(network).eval(), example).module()
    except Exception as error:
        raise UserError(
            f"torch.export cannot follow the network: {type(error).__name__}: {error}",
            "Write its forward without decisions that depend on the images' values",
        ) from None
    assert isinstance(made, GraphModule)
    made.graph.set_codegen(torch.fx.graph.CodeGen())  # torch.export's checks its arguments
    for node in list(made.graph.nodes):
        if node.op == "call_module":  # torch.export's check of its arguments
            made.graph.erase_node(node)
        elif node.op == "output":
            ((node.args,),) = (node.args,)
        elif node.target in DROPOUT:
            _replace(node, node.args[0])
    _compute_constants(made)
    _move_before_pooling(made)
    _write_out(made)
    _keep_biases_small(made)
    made.graph.eliminate_dead_code()
    return GraphModule(made, made.graph)


def _replace(node: Node, by: Any) -> None:
    node.replace_all_uses_with(by)
    node.graph.erase_node(node)


def _compute_constants(made: GraphModule) -> None:
    """Compute what comes of weights alone, such as filters turned in four directions."""
    values: dict[Node, Any] = {}
    for node in list(made.graph.nodes):
        if node.op == "get_attr":
            values[node] = _attribute(made, str(node.target))
        elif node.op == "call_function" and set(node.all_input_nodes) <= values.keys():
            args, kwargs = map_arg((node.args, dict(node.kwargs)), lambda given: values[given])
            with torch.no_grad():
                values[node] = node.target(*args, **kwargs)
    for node, value in values.items():
        used = any(user not in values for user in node.users)
        if node.op == "call_function" and used and isinstance(value, Tensor):
            with made.graph.inserting_before(node):
                node.replace_all_uses_with(_constant(made, value))
    made.graph.eliminate_dead_code()


def _attribute(made: GraphModule, target: str) -> Any:
    return operator.attrgetter(target)(made)


def _constant(made: GraphModule, value: Tensor) -> Node:
    """A new constant of the graph, at its point of insertion."""
    name = f"constant_{sum(1 for _ in made.named_buffers())}"
    made.register_buffer(name, value.detach().clone().contiguous())
    return made.graph.get_attr(name)


def _move_before_pooling(made: GraphModule) -> None:
    """Have max pooling come after ReLU and BatchNorm where that is the same.

    The largest of a window stays the largest under what rises, as BatchNorm does wherever its
    weight is not negative.
    """
    moved = True
    while moved:
        moved = False
        for pool in [node for node in made.graph.nodes if node.target == MAX_POOL]:
            source, users = pool.args[0], list(pool.users)
            if len(users) == 1 and len(source.users) == 1 and _folds_and_rises(made, users[0]):
                after = users[0]
                after.replace_all_uses_with(pool)
                after.replace_input_with(pool, source)
                pool.replace_input_with(source, after)
                after.append(pool)
                moved = True
    made.graph.lint()


def _folds_and_rises(made: GraphModule, node: Any) -> bool:
    """Whether a node behind pooling rises, and would become part of the convolution before that."""
    source = node.args[0].args[0]
    if node.target in RELU:
        return source.target == CONVOLUTION or _folds(source)
    if node.target != BATCH_NORM or source.target != CONVOLUTION or node.args[3] is None:
        return False
    return bool((_scale_and_offset(made, node)[0] >= 0).all())


def _folds(node: Any) -> bool:
    """Whether a node is a BatchNorm that the convolution before it takes in."""
    if node.target != BATCH_NORM or node.args[3] is None:
        return False
    convolution = node.args[0]
    return convolution.target == CONVOLUTION and len(convolution.users) == 1


def _scale_and_offset(made: GraphModule, node: Any) -> tuple[Tensor, Tensor]:
    """What BatchNorm multiplies by and adds in evaluation, for each channel.

    Source: Ioffe and Szegedy 2015, "Batch normalization", algorithm 2.
    """
    weight, bias, mean, variance = (
        _attribute(made, str(given.target)) if isinstance(given, Node) else None
        for given in node.args[1:5]
    )
    scale = (variance + node.args[7]).rsqrt()
    scale = scale if weight is None else scale * weight
    return scale, (0 if bias is None else bias) - mean * scale


def _write_out(made: GraphModule) -> None:
    """Fold BatchNorm, or write its two numbers; replace what TensorFlow Lite Micro lacks."""
    for node in list(made.graph.nodes):
        with made.graph.inserting_before(node):
            if _folds(node):
                _replace(node, _folded(made, node.args[0], *_scale_and_offset(made, node)))
            elif node.target == BATCH_NORM and node.args[3] is not None:
                shape = (1, -1) + (1,) * (node.meta["val"].dim() - 2)
                scale, offset = (of.view(shape) for of in _scale_and_offset(made, node))
                scaled = _call(made, aten.mul.Tensor, node.args[0], _constant(made, scale))
                _replace(node, _call(made, aten.add.Tensor, scaled, _constant(made, offset)))
            elif node.target in AVERAGES and tuple(node.args[0].meta["val"].shape[2:]) == (1, 1):
                _replace(node, node.args[0])
            elif node.target == aten.mean.dim and _is_of_places(node):
                kept = _call(made, aten.mean.dim, node.args[0], [2, 3], True)
                _replace(node, _call(made, aten.flatten.using_ints, kept, 1))
            elif node.target in MADE_OF:
                settings = (*node.args[1:], *node.kwargs.values())
                part = torch.fx.symbolic_trace(_Made(MADE_OF[node.target], settings))
                copied = made.graph.graph_copy(
                    part.graph, {next(iter(part.graph.nodes)): node.args[0]}
                )
                _replace(node, copied)
    made.graph.eliminate_dead_code()


def _is_of_places(node: Any) -> bool:
    """Whether a mean is over height and width, and drops both axes."""
    axes = [axis % 4 for axis in node.args[1] or []]
    keeps = len(node.args) > 2 and node.args[2]
    return node.args[0].meta["val"].dim() == 4 and sorted(axes) == [2, 3] and not keeps


def _folded(made: GraphModule, convolution: Any, scale: Tensor, offset: Tensor) -> Node:
    """A convolution with the BatchNorm behind it in its weights and bias."""
    weight = _attribute(made, str(convolution.args[1].target))
    bias = convolution.args[2] if len(convolution.args) > 2 else None
    before = 0 if bias is None else _attribute(made, str(bias.target))
    weight = _constant(made, weight * scale.view(-1, 1, 1, 1))
    fresh = _constant(made, before * scale + offset)
    rest = convolution.args[3:]
    folded = _call(made, CONVOLUTION, convolution.args[0], weight, fresh, *rest)
    folded.meta = dict(convolution.meta)
    return folded


def _keep_biases_small(made: GraphModule) -> None:
    """Leave no channel whose weights are next to nothing beside its bias.

    Such a channel, of a BatchNorm weight near zero for instance, is all but constant. Its bias in
    int8 is counted in steps of its weights, and would not fit into 32 bits: its first weight
    is made ``LEAST`` of the bias, which changes the channel by as much.
    """
    for node in made.graph.nodes:
        if node.target not in (CONVOLUTION, aten.linear.default) or len(node.args) < 3:
            continue
        weight, bias = node.args[1:3]
        if not isinstance(bias, Node) or {weight.op, bias.op} != {"get_attr"}:
            continue
        values = _attribute(made, str(weight.target)).detach().clone()
        flat = values.view(len(values), -1)
        least = LEAST * _attribute(made, str(bias.target)).detach().abs()
        dead = flat.abs().amax(1) < least
        if dead.any():
            flat[dead, 0] = least[dead]
            with made.graph.inserting_before(node):
                node.update_arg(1, _constant(made, values))


def _call(made: GraphModule, target: Callable[..., Any], *args: Any) -> Node:
    return made.graph.call_function(target, args)


class _Made(nn.Module):
    """A function of one tensor as a module, so that it can be traced."""

    def __init__(self, function: Callable[..., Tensor], settings: tuple[Any, ...]) -> None:
        super().__init__()
        self.function, self.settings = function, settings

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.settings)


def _gelu(x: Tensor, *_: Any) -> Tensor:
    """At most 0.0005 from the exact one; with tanh the converter would make a GELU of it again.

    Source: Hendrycks and Gimpel 2016, "Gaussian error linear units", section 2.
    """
    return x * torch.sigmoid(math.sqrt(8 / math.pi) * (x + 0.044715 * x * x * x))


def _elu(x: Tensor, alpha: float = 1.0, scale: float = 1.0, rate: float = 1.0) -> Tensor:
    return scale * (torch.relu(x) + alpha * (torch.exp(-rate * torch.relu(-x)) - 1))


def _leaky_relu(x: Tensor, slope: float = 0.01) -> Tensor:
    """In int8 the quantiser leaves the operator of that name in float32."""
    return torch.relu(x) - slope * torch.relu(-x)


def _softplus(x: Tensor, beta: float = 1.0, *_: Any) -> Tensor:
    return torch.relu(x) + torch.log(1 + torch.exp(-beta * torch.abs(x))) / beta


def _mish(x: Tensor) -> Tensor:
    return x * torch.tanh(_softplus(x))


def _selu(x: Tensor) -> Tensor:
    """Klambauer et al. 2017, "Self-normalizing neural networks", equation 14."""
    return _elu(x, 1.6732632423543772, 1.0507009873554805)


MADE_OF: dict[Any, Callable[..., Tensor]] = {
    aten.gelu.default: _gelu,
    aten.elu.default: _elu,
    aten.elu_.default: _elu,
    aten.leaky_relu.default: _leaky_relu,
    aten.leaky_relu_.default: _leaky_relu,
    aten.softplus.default: _softplus,
    aten.mish.default: _mish,
    aten.selu.default: _selu,
}
