"""ShiftedCopies: three moved copies of an image, one answer; training leaves them out."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from search.data.images import on_device
from search.layers.test_time_augmentation import MeanOfCopies, ShiftedCopies
from search.training import loop as training
from search.training.arithmetic import FLOAT32, Arithmetic
from search.training.evaluation import evaluate
from search.training.network import make_network
from search.training.recipe import Augmentation, Recipe

RECIPE = Recipe(batch_size=64, average_decay=0.9, augmentation=Augmentation(rotation=8, shift=1))


def test_an_image_is_moved_down_and_up_and_its_border_repeated() -> None:
    image = torch.arange(12.0).view(1, 1, 3, 4)
    still, down, up = ShiftedCopies()(torch.cat([image, -image])).split(2)
    assert torch.equal(still, torch.cat([image, -image]))
    assert down[0, 0].tolist() == [[0, 0, 1, 2], [0, 0, 1, 2], [4, 4, 5, 6]]
    assert up[0, 0].tolist() == [[5, 6, 7, 7], [9, 10, 11, 11], [9, 10, 11, 11]]
    assert torch.equal(down[1], -down[0]) and torch.equal(up[1], -up[0])


def test_the_answers_to_an_images_views_are_averaged() -> None:
    of_views = torch.tensor(
        [[0.0, 3.0], [1.0, 0.0], [3.0, 0.0], [1.0, 0.0], [0.0, 6.0], [4.0, 0.0]]
    )
    assert MeanOfCopies()(of_views).tolist() == [[1.0, 3.0], [2.0, 0.0]]


@pytest.mark.parametrize("arithmetic", [FLOAT32, Arithmetic(fused=False)])
def test_one_view_is_trained_and_all_are_judged(
    arithmetic: Arithmetic, mnist_1200: tuple[np.ndarray, np.ndarray]
) -> None:
    pixels, labels = mnist_1200
    train, held_out = (
        on_device(pixels[part][:, None], labels[part], (0.1307,), (0.3081,), torch.device("cpu"))
        for part in (slice(640), slice(1000, None))
    )

    def fit(before: list[nn.Module], after: list[nn.Module]) -> training.Fit:
        def build() -> nn.Module:
            return nn.Sequential(
                *before,
                *(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.MaxPool2d(2), nn.ReLU()),
                *(nn.Dropout(0.1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 10)),
                *after,
            )

        return training.fit(build, RECIPE, train, held_out, epochs=2, seed=3, arithmetic=arithmetic)

    whole, plain = fit([ShiftedCopies()], [MeanOfCopies()]), fit([], [])
    ours, theirs = whole.model.state_dict().values(), plain.model.state_dict().values()
    assert len(ours) == len(theirs) and all(map(torch.equal, ours, theirs))
    last = whole.epochs[-1]
    assert last.training_loss == plain.epochs[-1].training_loss
    network = make_network(whole.model, arithmetic, torch.device("cpu"))
    assert evaluate(network, held_out)[:2] == (last.accuracy, last.loss)
    images = held_out.normalised(held_out.pixels)
    plain.model.eval()
    with torch.no_grad():
        answers = [plain.model(view) for view in ShiftedCopies()(images).chunk(3)]
        loss = functional.cross_entropy(sum(answers, torch.zeros(())) / 3, held_out.labels)
    assert last.loss == pytest.approx(loss.item(), rel=1e-4)
    assert last.loss != plain.epochs[-1].loss
