"""A training keeps to its device: shown where there is none, and on one where there is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from search.data.images import Images
from search.training.arithmetic import Arithmetic
from search.training.augmentation import _basis
from search.training.loop import TrainingRun, train_stacked
from search.training.recipe import Augmentation, Recipe
from search.training.trainer import Trainer
from tests.training.test_loop import RECIPE, network, rotated_network
from tests.training.test_stacked import images


def trainer_on(
    device: torch.device, recipe: Recipe, build: Callable[[], nn.Module], seeds: int
) -> Trainer:
    """A trainer whose images and network live on a device and hold no values."""
    _basis.cache_clear()
    data = Images(
        pixels=torch.zeros(1000, 1, 28, 28, dtype=torch.uint8, device=device),
        labels=torch.zeros(1000, dtype=torch.int64, device=device),
        mean=(0.13,),
        std=(0.31,),
    )
    with device:
        models = [build() for _ in range(seeds)]
    return Trainer(models, recipe, data, epochs=1, arithmetic=Arithmetic(stacked=seeds > 1))


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("build", [network, rotated_network])
@pytest.mark.parametrize(
    "changes",
    [
        {"label_smoothing": 0.1},
        {"optimizer": "adamw"},
        {"augmentation": Augmentation(rotation=8, final=0.2)},
    ],
)
def test_a_whole_step_stays_on_its_device_and_reads_no_value(
    changes: dict[str, Any], build: Callable[[], nn.Module], seeds: int
) -> None:
    """On the meta device a copy from the host or a value that is read raises."""
    meta = torch.device("meta")
    recipe = replace(RECIPE, **changes)
    chosen = torch.zeros(seeds * 64, dtype=torch.int64, device=meta)
    losses = trainer_on(meta, recipe, build, seeds).step(0, chosen, None, 0)
    assert losses.device == meta
    with pytest.raises(RuntimeError):
        losses.sum().item()  # the guard itself works
    with pytest.raises(RuntimeError):
        losses + torch.zeros(seeds, 1)


@pytest.mark.filterwarnings("ignore:Accessing the data pointer of FakeTensor")  # a copy of a module
@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize("build", [network, rotated_network])
def test_the_forward_pass_on_a_gpu_mixes_no_devices(
    build: Callable[[], nn.Module], seeds: int
) -> None:
    """With tensors that have a CUDA device but no data: kernels are chosen as on a GPU."""
    with FakeTensorMode():
        gpu = torch.device("cuda:0")
        chosen = torch.zeros(seeds * 64, dtype=torch.int64, device=gpu)
        losses = trainer_on(gpu, RECIPE, build, seeds).losses(chosen, RECIPE.augmentation, None, 0)
        assert losses.device == gpu
        with pytest.raises(RuntimeError):
            losses.sum().item()  # the guard itself works
        with pytest.raises(RuntimeError, match="device"):
            losses + torch.zeros(seeds, 1)
    _basis.cache_clear()


on_a_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.mark.gpu
@on_a_gpu
@pytest.mark.parametrize("low", [False, True])
@pytest.mark.parametrize("build", [network, rotated_network])
def test_a_gpu_learns_as_a_cpu_does(build: Callable[[], nn.Module], low: bool) -> None:
    """Alone and stacked: other random numbers, and the same that is learnt."""
    losses = {}
    for device in ("cpu", "cuda"):
        for seeds in (1, 3):
            data = images(1000)
            there = replace(data, pixels=data.pixels.to(device), labels=data.labels.to(device))
            arithmetic = Arithmetic(bfloat16=low, fused=False, stacked=seeds > 1)
            runs = [
                TrainingRun(build, RECIPE, there, there, epochs=4, seed=seed, arithmetic=arithmetic)
                for seed in range(seeds)
            ]
            list(train_stacked(runs) if seeds > 1 else runs[0].epochs())
            assert next(runs[0].model.parameters()).device.type == device
            losses[device, seeds] = runs[0].curve[-1].loss
    assert max(losses.values()) < 1.2 * min(losses.values())


@pytest.mark.gpu
@on_a_gpu
def test_a_gpu_repeats_itself_to_the_bit() -> None:
    data = images(1000)
    there = replace(data, pixels=data.pixels.cuda(), labels=data.labels.cuda())
    curves = []
    for _ in range(2):
        run = TrainingRun(network, RECIPE, there, there, epochs=3, seed=1)
        list(run.epochs())
        curves.append([epoch.training_loss for epoch in run.curve])
    assert curves[0] == curves[1]
