"""Rotated convolutions: what they do to a turned image, against sums written out by hand."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from search.layers.rotated import RotatedBatchNorm2d, RotatedConv2d


def turned(maps: Tensor, filters: int, times: int) -> Tensor:
    """What a rotated convolution answers to a turned image: its maps, turned and moved on."""
    by_rotation = maps.unflatten(1, (4, filters)).roll(times, 1)  # type: ignore[no-untyped-call]
    return torch.rot90(by_rotation, times, (-2, -1)).flatten(1, 2)


@pytest.mark.parametrize("times", range(1, 4))
@pytest.mark.parametrize("padding", [0, 1])
def test_a_turned_image_has_the_same_features_elsewhere(times: int, padding: int) -> None:
    torch.manual_seed(0)
    network = nn.Sequential(
        RotatedConv2d(2, 8, 3, bias=False),
        nn.ReLU(),
        RotatedConv2d(8, 12, 3, padding=padding, bias=False, of_rotated=True),
    ).double()
    images = torch.rand(3, 2, 9, 9, dtype=torch.float64)
    answers = network(torch.rot90(images, times, (-2, -1)))
    torch.testing.assert_close(answers, turned(network(images), 3, times))
    assert not torch.allclose(answers, network(images))


def test_a_filter_turned_reads_the_features_that_are_turned_with_it() -> None:
    layer = RotatedConv2d(8, 4, 3, bias=False, of_rotated=True)
    own, whole = layer.weight[0], layer.expanded(layer.weight)
    assert whole.shape == (4, 8, 3, 3)
    for rotation in range(4):
        for read in range(8):  # two features in four rotations
            source = (read // 2 - rotation) % 4 * 2 + read % 2
            expected = torch.rot90(own[source], rotation)
            assert torch.equal(whole[rotation, read], expected), (rotation, read)


def test_plain_input_is_read_by_all_rotations_alike() -> None:
    layer = RotatedConv2d(3, 8, 5, padding=2)
    x = torch.rand(2, 3, 7, 7)
    expected = [
        nn.functional.conv2d(x, torch.rot90(layer.weight, rotation, (-2, -1)), padding=2)
        for rotation in range(4)
    ]
    assert layer.bias is not None
    expected_maps = torch.cat(expected, 1) + layer.bias.repeat(4).view(1, -1, 1, 1)
    torch.testing.assert_close(layer(x), expected_maps)
    assert sum(parameter.numel() for parameter in layer.parameters()) == 2 * 3 * 25 + 2


def test_rotations_share_the_weight_and_bias_of_batch_norm_but_no_statistics() -> None:
    torch.manual_seed(0)
    ours, theirs = RotatedBatchNorm2d(8), nn.BatchNorm2d(8)
    nn.init.normal_(ours.weight)
    nn.init.normal_(ours.bias)
    theirs.weight.data, theirs.bias.data = ours.weight.data.repeat(4), ours.bias.data.repeat(4)
    for _ in range(2):
        x = torch.randn(5, 8, 3, 3) * torch.arange(1.0, 9).view(1, -1, 1, 1)
        torch.testing.assert_close(ours(x), theirs(x))
    assert ours.num_batches_tracked == 2
    ours.eval()
    theirs.eval()
    torch.testing.assert_close(ours(x), theirs(x))
    ours(x).square().sum().backward()
    theirs(x).square().sum().backward()
    for own, other in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        assert own.grad is not None and other.grad is not None
        torch.testing.assert_close(own.grad, other.grad.view(4, 2).sum(0))


def test_initial_weights_are_as_large_as_those_of_torchs_convolution() -> None:
    torch.manual_seed(0)
    ours, theirs = RotatedConv2d(16, 512, 3), nn.Conv2d(16, 128, 3)
    for own, other in ((ours.weight, theirs.weight), (ours.bias, theirs.bias)):
        assert own is not None and other is not None
        assert own.abs().max().item() == pytest.approx(other.abs().max().item(), rel=0.1)
        assert own.std().item() == pytest.approx(other.std().item(), rel=0.1)
