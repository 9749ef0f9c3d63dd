"""What is in memory at the peak of an image, measured by a run: hand counts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from search.candidates.measuring import measure
from tests.helpers.measured import Wrapped, positions_mean

MAP = 4 * 8 * 8


@pytest.mark.parametrize(
    ("function", "peak"),
    [
        # stem 64 + MAP; then in and out
        (lambda net, x: net.parts["b"](net.parts["stem"](x).relu()), 2 * MAP),
        # while b works, what a read is still needed
        (
            lambda net, x: (s := net.parts["stem"](x)) + net.parts["b"](net.parts["a"](s).relu()),
            3 * MAP,
        ),
        # the sum is written before the last convolution: nothing is left of the skip
        (
            lambda net, x: net.parts["b"]((s := net.parts["stem"](x)) + net.parts["a"](s)),
            2 * MAP,
        ),
        # both in and the joined map out
        (
            lambda net, x: torch.cat([s := net.parts["stem"](x), net.parts["a"](s)], 1)[:, :4],
            4 * MAP,
        ),
        # an activation of what is needed later has memory of its own
        (lambda net, x: (s := net.parts["stem"](x)) + s.relu() * s.sigmoid(), 3 * MAP),
        # maps that are filled bit by bit are activations too
        (lambda net, x: filled(net.parts["stem"](x)), 2 * MAP + MAP // 2),
        # the image is kept for the end
        (lambda net, x: net.parts["a"](net.parts["stem"](x)) + x, 2 * MAP + 64),
        # views are free
        (lambda net, x: net.parts["stem"](x).permute(0, 1, 3, 2).flatten(1).view(1, 4, 8, 8), 0),
    ],
    ids=["plain", "skip", "sum", "cat", "gate", "filled", "image kept", "views"],
)
def test_what_is_still_needed_stays_in_memory(
    function: Callable[[Wrapped, Tensor], Tensor], peak: int
) -> None:
    def network() -> nn.Module:
        parts = {name: nn.Conv2d(4, 4, 3, padding=1) for name in "ab"}
        stem = nn.Conv2d(1, 4, 3, padding=1)
        return Wrapped(lambda net, x: positions_mean(function(net, x)), stem=stem, **parts)

    found = measure(network, (1, 8, 8), 4)
    assert found.peak_activation_bytes == 4 * max(peak, 64 + MAP)


def filled(x: Tensor) -> Tensor:
    result = torch.zeros(x.shape)
    result[:, :2] = functional.max_pool2d(x[:, :2], 1)
    result[:, 2:] = x[:, 2:]
    return result


def test_logits_stay_while_other_work_is_done() -> None:
    def forward(net: Wrapped, x: Tensor) -> Tensor:
        logits = x.flatten(1).relu()
        net.parts["unused"](x)
        return logits

    unused = nn.Conv2d(1, 4, 3, padding=1)
    found = measure(lambda: Wrapped(forward, unused=unused.to("meta")), (1, 8, 8), 64)
    assert found.peak_activation_bytes == 4 * (64 + 64 + MAP)


def test_what_is_written_to_a_buffer_is_no_activation() -> None:
    class Remembers(nn.Module):
        memory: Tensor

        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("memory", torch.zeros(1, 64))

        def forward(self, x: Tensor) -> Tensor:
            y = x.flatten(1)
            self.memory.copy_(y)
            return y.relu()

    assert measure(Remembers, (1, 8, 8), 64).peak_activation_bytes == 4 * 64
