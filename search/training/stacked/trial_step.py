"""Whether networks can be trained stacked: tried by a step, as no look at their code could tell."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from search.data.images import Images
from search.training.arithmetic import FLOAT32
from search.training.exact import is_exactly
from search.training.stacked.network import DROPOUTS, StackedNetwork
from search.training.stacked.tensors import StackedTensors

GRADIENT = "gradient of "
IMAGES = 16  # for each network
TOLERANCE = 1e-6  # of the largest number of a tensor


def can_be_stacked(
    alone: Sequence[nn.Module], together: Sequence[nn.Module], images: Images
) -> bool:
    """Whether two networks give the same stacked as alone: logits, gradients and buffers.

    They do not where one decides by the values that it sees, draws random numbers other than in
    torch's dropout layers, has hooks on its weights or tensors that share memory, puts another
    tensor in a buffer's place, or computes what ``torch.vmap`` does not know.

    Compared in float64: in float32 rounding may change which of two values is the larger, and so
    where a gradient goes.

    Args:
        alone: Both networks, freshly made, in training; this changes them.
        together: The same once more.
        images: To try it on.
    """
    if _shares_memory(alone[0]):
        return False
    for model in (*alone, *together):
        _drop_nothing(model.double())
    places = torch.arange(2 * IMAGES, device=images.pixels.device) % len(images)
    seen = images.normalised(images.pixels[places].float()).double()
    try:
        expected = [_step(model, one) for model, one in zip(alone, seen.chunk(2), strict=True)]
        tensors = StackedTensors(together)
        network = StackedNetwork(together, tensors, FLOAT32, seen.device)
        logits = network(seen).chunk(2)
        _backward(torch.stack(logits))
        found = [
            {
                "": of,
                **_tensors(model),
                **{
                    f"{GRADIENT}{name}": None if p.grad is None else p.grad[at]
                    for name, p in tensors.named_parameters.items()
                },
            }
            for at, (model, of) in enumerate(zip(together, logits, strict=True))
        ]
    except Exception:  # whatever a network of somebody's raises where it is called in this way
        return False
    return all(_same(*pair) for pair in zip(found, expected, strict=True))


def _shares_memory(model: nn.Module) -> bool:
    tensors = [tensor for tensor in _tensors(model).values() if tensor is not None]
    return len({tensor.untyped_storage().data_ptr() for tensor in tensors}) < len(tensors)


def _drop_nothing(model: nn.Module) -> None:
    """For the comparison: on a GPU stacked networks draw other numbers than one alone."""
    for layer in model.modules():
        if is_exactly(layer, *DROPOUTS):
            vars(layer)["p"] = 0.0


def _step(model: nn.Module, images: Tensor) -> dict[str, Tensor | None]:
    model.train()
    logits = model(images)
    _backward(logits)
    gradients = {f"{GRADIENT}{name}": p.grad for name, p in model.named_parameters()}
    return {"": logits, **_tensors(model), **gradients}


def _tensors(model: nn.Module) -> dict[str, Tensor | None]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _backward(logits: Tensor) -> None:
    """Gradients of a sum in which every logit of a network counts otherwise."""
    each = logits[0] if logits.ndim == 3 else logits
    weights = torch.arange(each.numel(), device=logits.device, dtype=each.dtype).cos()
    (logits * weights.view(each.shape)).sum().backward()  # type: ignore[no-untyped-call]


def _same(found: Mapping[str, Tensor | None], expected: Mapping[str, Tensor | None]) -> bool:
    steepest = max(_largest(of) for name, of in expected.items() if name.startswith(GRADIENT))
    return found.keys() == expected.keys() and all(
        # A gradient may be nothing but rounding, as that of a bias before BatchNorm.
        _close(found[name], of, TOLERANCE * steepest if name.startswith(GRADIENT) else 0.0)
        for name, of in expected.items()
    )


def _close(found: Tensor | None, expected: Tensor | None, rounding: float) -> bool:
    if found is None or expected is None:
        return found is expected
    if found.shape != expected.shape:
        return False
    apart = (found.detach().double() - expected.detach().double()).abs()
    return bool((apart <= TOLERANCE * _largest(expected) + rounding).all())


def _largest(tensor: Tensor | None) -> float:
    return 0.0 if tensor is None or not tensor.numel() else float(tensor.detach().abs().max())
