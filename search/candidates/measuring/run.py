"""Builds a network, runs one image through it, and says what it costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.backends import mkldnn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.parameter import UninitializedBuffer, UninitializedParameter

from search.candidates.costs import Costs, WrongOutput
from search.candidates.measuring.memory import peak_values
from search.candidates.measuring.rows import table
from search.candidates.measuring.trace import Trace

BYTES = 4  # of a float32, whatever the network computes with


def measure(
    build: Callable[[], nn.Module], input_shape: tuple[int, int, int], classes: int
) -> Costs:
    """What a network costs, from one run of one image in evaluation mode.

    It is built and run on the meta device, where nothing is computed. If that fails (its code looks
    at a value, or its weights come from numpy), it is built and run on the CPU; and with two images
    if one cannot work, the figures then being half of theirs. Torch's random numbers and settings
    are as before. What the network prints, it may print more than once.

    * Parameters are all of them, frozen ones too since they need the same memory, each once however
      often it is used. Buffers are not counted.
    * Multiply-accumulates are those of convolutions and matrix products (``operations.py`` says
      what that leaves out), at every use of a shared layer. Attention is counted as the matrix
      products that it is by its formula, recurrent layers by their steps.
    * The peak is what the activations of one image need at once, as ``memory.py`` defines it.
    * Flash is what an int8 network keeps: a byte for each weight as it is used, so that filters in
      rotations are written out, and some for each channel (``search.candidates.costs``). BatchNorm
      counts as folded into the weights before it.

    What is worked out from parameters alone counts as neither, and a module may state its costs
    itself: see ``Trace``.

    Args:
        build: Makes the network.
        input_shape: Channels, height and width of an image.
        classes: Logits that the network has to give.

    Raises:
        WrongOutput: If the network does not give ``[N, classes]`` for N images.
        Exception: Whatever the network itself raises on the CPU.
    """
    with _undisturbed():
        failure: Exception | None = None
        for device in ("meta", "cpu"):
            for images in (1, 2):
                try:
                    with torch.device(device):
                        network, trace, output = _run(build, (images, *input_shape))
                except Exception as error:
                    if images == 1:
                        failure = error
                    continue
                _check(output, images, classes)
                return _costs(network, trace, output)
        assert failure is not None
        raise failure


def _run(build: Callable[[], nn.Module], shape: tuple[int, ...]) -> tuple[nn.Module, Trace, object]:
    network = build()
    if not isinstance(network, nn.Module):
        raise WrongOutput(f"build() must return an nn.Module, but returned {network!r}")
    network.eval()
    # Not all alike: a network that divides by a deviation works.
    image = torch.linspace(0.0, 1.0, math.prod(shape)).view(shape)
    if any(isinstance(p, UninitializedParameter) for p in network.parameters()) or any(
        isinstance(b, UninitializedBuffer) for b in network.buffers()
    ):
        network(image)  # lazy layers take their sizes from the first call
    trace = Trace(network, image)
    try:
        with trace:
            output: object = network(image)
    finally:
        trace.remove_hooks()
    return network, trace, output


def _check(output: object, images: int, classes: int) -> None:
    needed = f"the network must give a tensor [N, {classes}] for N images, but got"
    if not isinstance(output, Tensor):
        raise WrongOutput(f"{needed} an object of type {type(output).__name__}")
    if output.shape != (images, classes):
        raise WrongOutput(f"{needed} {list(output.shape)} for {images}")


def _costs(network: nn.Module, trace: Trace, output: object) -> Costs:
    assert isinstance(output, Tensor)
    steps = [step for part in trace.parts for step in part.steps]
    counts = {id(parameter): parameter.numel() for parameter in network.parameters()}
    peak = peak_values(steps, trace.sizes, trace.image, [trace.number(output)])
    return Costs(
        parameters=sum(counts.values()),
        macs=sum(step.macs for step in steps),
        peak_activation_bytes=BYTES * peak,
        flash_bytes=_flash(trace, counts),
        layers=table(trace, counts),
        kinds=tuple(dict.fromkeys(type(module).__name__ for module in network.modules())),
        dropout=tuple(sorted(_dropout_rates(network) - {0.0})),
    )


def _flash(trace: Trace, counts: Mapping[int, int]) -> int:
    """Bytes of an int8 network's constants, each once; of a module that states its costs, its own.

    Those are a byte for each of its parameters.
    """
    constants: dict[int, int] = {}
    stated: set[int] = set()
    for part in trace.parts:
        for step in part.steps:
            constants |= dict(step.constants)
            stated |= step.parameters if part.stated else set()
    return sum(constants.values()) + sum(counts[parameter] for parameter in stated)


def _dropout_rates(network: nn.Module) -> set[float]:
    """The rates of torch's dropout layers and of subclasses of them."""
    kinds = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
    rates = {module.p for module in network.modules() if isinstance(module, kinds)}
    return rates | {m.dropout for m in network.modules() if isinstance(m, nn.MultiheadAttention)}


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No gradients, operations as their formulas say, and all as before afterwards.

    oneDNN's recurrent layers and fused attention do in one operation what their formulas do in
    several; attention's fast path too, which is off wherever ``torch.device`` is in force.
    """
    one_dnn = mkldnn.enabled
    # Not mkldnn.flags(), which leaves other settings changed.
    mkldnn.enabled = False  # type: ignore[assignment]
    try:
        with torch.random.fork_rng(devices=[]), torch.no_grad(), sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        mkldnn.enabled = one_dnn
