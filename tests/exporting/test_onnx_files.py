"""ONNX by onnxruntime: the same answers in float32, nearly the same in int8, no local paths."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from search.architecture.building import build
from search.architecture.counting import count_parameters
from search.architecture.layers import TTA, Conv, Deskew, Layer
from search.architecture.references import REFERENCES
from search.exporting.onnx_files import predict, weight_bytes, write_int8, write_onnx
from search.exporting.standalone import load_standalone, logits, write_standalone
from tests.exporting.test_standalone import PROBLEM, disturbed


def rotated(layer: Layer) -> Layer:
    return replace(layer, rotated=True) if isinstance(layer, Conv) else layer


PLAIN = REFERENCES["valid-conv-18k"].candidate
CANDIDATES = {
    "plain": PLAIN,
    "views": replace(PLAIN, layers=(Deskew(), TTA(), *PLAIN.layers)),
    "rotated": replace(PLAIN, layers=tuple(map(rotated, PLAIN.layers))),
}


@pytest.mark.parametrize("kind", CANDIDATES)
def test_both_files_answer_as_torch_does(
    kind: str, tmp_path: Path, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    pixels = mnist_1200[0][:, None]
    candidate = CANDIDATES[kind]
    torch.manual_seed(0)  # untrained networks lose between 4 and 11 per cent to int8, by seed
    write_standalone(tmp_path, disturbed(build(candidate)), PROBLEM, title="t")
    network = load_standalone(tmp_path)
    float32, int8 = tmp_path / "a.onnx", tmp_path / "b.onnx"
    write_onnx(network, float32, (1, 28, 28))
    write_int8(float32, int8, pixels[:300])
    expected = logits(network, torch.from_numpy(pixels.copy())).numpy()
    found = predict(float32, pixels)
    assert found.shape == (1200, 10)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    quantised = predict(int8, pixels)
    error = np.abs(quantised - expected).max()
    assert 0 < error < 0.1 * np.abs(expected).max()

    steps = {node.op_type for node in onnx.load(float32).graph.node}
    assert "BatchNormalization" not in steps
    assert "QuantizeLinear" in {node.op_type for node in onnx.load(int8).graph.node}
    assert "Dropout" not in steps
    weights = count_parameters(PLAIN)  # rotated filters are written out
    assert 4 * (weights - 200) < weight_bytes(float32) < 4 * (weights + 200)
    assert weight_bytes(int8) < 0.4 * weight_bytes(float32)
    for file in (float32, int8):
        assert b".py" not in file.read_bytes()
        assert not list(tmp_path.glob("*.data"))
