"""Whether a layer is exactly what its class says: who runs it in another way must know.

A subclass may compute something else, a hook may change what goes in or comes out, a
parametrisation what the weights are, and a frozen weight is not to be trained. What is not exactly
a layer of torch or of this program runs as torch runs it.
"""

from __future__ import annotations

from torch import nn
from torch.nn.modules import module as torch_modules

# Torch has no public way to ask for hooks. docs/private_interfaces.md lists these.
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")


def is_exactly(layer: nn.Module | None, *kinds: type[nn.Module]) -> bool:
    """Whether a layer is of one of some classes, and nothing in it was changed.

    Of these classes itself (not of a subclass of one), with the ``forward`` that its class was
    written with, without hooks, and with nothing frozen.
    """
    return layer is not None and type(layer) in kinds and is_unchanged(layer)


def is_unchanged(layer: nn.Module) -> bool:
    """Whether a layer computes what its class was written to, and all of its own is trained."""
    return (
        _has_own_forward(layer, type(layer).forward.__module__ == type(layer).__module__)
        and not has_hooks(layer)
        and all(parameter.requires_grad for parameter in layer.parameters(recurse=False))
    )


def is_sequence(module: nn.Module) -> bool:
    """Whether calling a module runs its children one after the other; hooks are not asked for."""
    own = type(module).forward is nn.Sequential.forward
    return isinstance(module, nn.Sequential) and _has_own_forward(
        module, own and nn.Sequential.forward.__module__ == nn.Sequential.__module__
    )


def _has_own_forward(module: nn.Module, of_its_class: bool) -> bool:
    kind = type(module)
    return (
        of_its_class
        and not hasattr(kind.forward, "__wrapped__")  # decorated after the fact
        and "forward" not in vars(module)
        and kind.__call__ is nn.Module.__call__
    )


def has_hooks(module: nn.Module) -> bool:
    """Whether anything is called before or after a module, forward or backward."""
    return any(getattr(module, name) for name in _HOOKS)


def has_global_hooks() -> bool:
    """Whether anything is called before or after every module of this process."""
    return any(getattr(torch_modules, f"_global{name}") for name in _HOOKS)
