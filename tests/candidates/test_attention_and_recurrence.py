"""Attention and recurrent layers, measured by a run, on either device: hand counts."""

from __future__ import annotations

import pytest
from torch import Tensor, nn
from torch.nn import functional

from search.candidates.measuring import measure
from tests.helpers.measured import Wrapped, made_on

TOKENS, WIDTH, HEADS_OF_ATTENTION = 16, 8, 2


def attention(kind: str) -> nn.Module:
    """A patch embedding to 16 tokens of width 8, attention, a mean over the tokens."""

    def forward(net: Wrapped, x: Tensor) -> Tensor:
        tokens = net.parts["embed"](x).flatten(2).transpose(1, 2)
        if kind == "module":
            mixed, _ = net.parts["attend"](tokens, tokens, tokens)
        else:
            three = net.parts["inner"](tokens).view(1, TOKENS, 3, HEADS_OF_ATTENTION, -1)
            q, k, v = three.permute(2, 0, 3, 1, 4)
            mixed = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2)
            mixed = net.parts["outer"](mixed.flatten(2))
        return mixed.mean(1)  # type: ignore[no-any-return]

    embed = nn.Conv2d(1, WIDTH, 2, stride=2)
    if kind == "module":
        attend = nn.MultiheadAttention(WIDTH, HEADS_OF_ATTENTION, batch_first=True)
        return Wrapped(forward, embed=embed, attend=attend)
    inner, outer = nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)
    return Wrapped(forward, embed=embed, inner=inner, outer=outer)


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize("kind", ["module", "function"])
def test_attention(kind: str, device: str) -> None:
    found = measure(made_on(device, lambda: attention(kind)), (1, 8, 8), WIDTH)
    assert found.parameters == (8 * 4 + 8) + (8 * 24 + 24) + (8 * 8 + 8)
    scores = TOKENS * TOKENS * WIDTH  # of all heads together
    assert found.macs == 8 * 4 * TOKENS + TOKENS * (8 * 24) + 2 * scores + TOKENS * 8 * 8
    if kind == "function":
        # the scores of two heads, written while queries, keys and values are there and both
        # scaled queries and keys
        assert found.peak_activation_bytes == 4 * (2 * 16 * 16 + 3 * 16 * 8 + 2 * 16 * 8)


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_an_encoder_layer_hides_nothing(device: str) -> None:
    def forward(net: Wrapped, x: Tensor) -> Tensor:
        return net.parts["encode"](x.flatten(2)).mean(1)  # type: ignore[no-any-return]

    def network() -> nn.Module:
        encode = nn.TransformerEncoderLayer(16, 2, dim_feedforward=32, batch_first=True)
        return Wrapped(forward, encode=encode)

    own = 16 * 48 + 16 * 16 + 16 * 32 + 32 * 16
    assert measure(made_on(device, network), (4, 4, 4), 16).macs == 4 * own + 2 * 4 * 4 * 16


@pytest.mark.parametrize("device", ["meta", "cpu"])
@pytest.mark.parametrize(("kind", "gates"), [(nn.GRU, 3), (nn.LSTM, 4), (nn.RNN, 1)])
def test_recurrent_layers_count_every_step(
    kind: type[nn.GRU | nn.LSTM | nn.RNN], gates: int, device: str
) -> None:
    def forward(net: Wrapped, x: Tensor) -> Tensor:
        return net.parts["rows"](x.flatten(1, 2))[0][:, -1]  # type: ignore[no-any-return]

    def network() -> nn.Module:
        return Wrapped(forward, rows=kind(8, 5, batch_first=True))

    found = measure(made_on(device, network), (1, 6, 8), 5)
    assert found.macs == 6 * gates * (8 * 5 + 5 * 5)
