"""What counts as exactly a layer of torch, and what does not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn
from torch.nn.modules import module as torch_modules
from torch.nn.utils import prune

from search.training.exact import has_global_hooks, has_hooks, is_exactly, is_sequence
from tests.helpers.networks import Leaky, Residual, Resting, Reversed


def hooks() -> dict[str, Callable[[nn.Module], object]]:
    return {
        "forward": lambda m: m.register_forward_hook(lambda *_: None),
        "forward with kwargs": lambda m: m.register_forward_hook(lambda *_: None, with_kwargs=True),
        "always called": lambda m: m.register_forward_hook(lambda *_: None, always_call=True),
        "before forward": lambda m: m.register_forward_pre_hook(lambda *_: None),
        "backward": lambda m: m.register_full_backward_hook(lambda *_: None),
        "before backward": lambda m: m.register_full_backward_pre_hook(lambda *_: None),
    }


@pytest.mark.parametrize("kind", hooks())
def test_a_hook_of_any_kind_is_seen(kind: str) -> None:
    layer = nn.ReLU()
    assert is_exactly(layer, nn.ReLU) and not has_hooks(layer)
    hooks()[kind](layer)
    assert has_hooks(layer) and not is_exactly(layer, nn.ReLU)


def test_a_hook_on_every_module_is_seen() -> None:
    assert not has_global_hooks()
    for register in (
        torch_modules.register_module_forward_hook,
        torch_modules.register_module_forward_pre_hook,
        torch_modules.register_module_full_backward_hook,
        torch_modules.register_module_full_backward_pre_hook,
    ):
        handle = register(lambda *_: None)
        assert has_global_hooks(), register
        handle.remove()
    assert not has_global_hooks()


def test_what_changes_a_layer_is_seen() -> None:
    frozen, own = nn.Conv2d(1, 1, 1), nn.ReLU()
    assert frozen.bias is not None
    frozen.bias.requires_grad_(False)
    own.forward = lambda x: x  # type: ignore[method-assign, assignment]
    normed = nn.utils.parametrizations.weight_norm(nn.Conv2d(1, 1, 1))
    pruned = nn.Conv2d(1, 1, 1)
    prune.random_unstructured(pruned, "weight", 0.5)  # type: ignore[no-untyped-call]
    for layer in (frozen, own, normed, pruned, Leaky(), None):
        assert not is_exactly(layer, nn.Conv2d, nn.ReLU), layer


def test_a_method_that_was_replaced_in_its_class_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x)
    assert not is_exactly(nn.ReLU(), nn.ReLU)


def test_a_sequence_runs_its_children_in_turn() -> None:
    assert is_sequence(nn.Sequential(nn.ReLU()))
    assert is_sequence(Resting(nn.ReLU()))
    assert is_sequence(Reversed(nn.ReLU()))  # in the order of its own __iter__, as torch does
    assert not is_sequence(Residual(nn.ReLU()))
    assert not is_sequence(nn.ModuleList([nn.ReLU()]))
    assert not is_sequence(nn.ReLU())
