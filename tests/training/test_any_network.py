"""Whatever network is written is the one that is trained: compared with torch's own loop."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from torch import Tensor, nn
from torch.nn import functional

from search.data.images import Images
from search.training.arithmetic import Arithmetic
from search.training.network import make_network
from search.training.recipe import Recipe
from search.training.trainer import Trainer
from tests.helpers.networks import CLASSES, IDIOMS, SIDE, network_of, networks
from tests.training.kernels.reference import needs_bfloat16

CPU = torch.device("cpu")
RECIPE = Recipe(
    learning_rate=0.05, weight_decay=0.1, batch_size=8, schedule="constant", average_decay=0.5
)
STEPS = 3


def images() -> Images:
    generator = torch.Generator().manual_seed(3)
    pixels = torch.randint(0, 256, (8, 1, SIDE, SIDE), generator=generator, dtype=torch.uint8)
    labels = torch.randint(0, CLASSES, (8,), generator=generator)
    return Images(pixels=pixels, labels=labels, mean=(0.5,), std=(0.3,))


class Textbook:
    """The loop that one would write by hand, with averages of weights and running statistics."""

    def __init__(self, model: nn.Module, recipe: Recipe, *, low: bool = False) -> None:
        self.model, self.recipe, self.low = model, recipe, low
        self.optimizer = torch.optim.SGD(
            *(model.parameters(), recipe.learning_rate, recipe.momentum),
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
        )
        self.averages = {name: value.clone() for name, value in self.averaged()}

    def averaged(self) -> list[tuple[str, Tensor]]:
        """Averages are of what is trained and of running statistics."""
        found = [(name, p.detach()) for name, p in self.model.named_parameters()]
        return found + [(n, b) for n, b in self.model.named_buffers() if "running_" in n]

    def step(self, x: Tensor, labels: Tensor, decay: float) -> None:
        self.model.train()
        self.optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16) if self.low else nullcontext():
            logits = self.model(x)
        dtype = x.dtype if x.dtype == torch.float64 else torch.float32
        functional.cross_entropy(logits.to(dtype), labels).backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        for name, value in self.averaged():
            self.averages[name].lerp_(value, 1 - decay)


def tensors(model: nn.Module) -> dict[str, Tensor]:
    return {
        name: tensor.detach().clone()
        for name, tensor in (*model.named_parameters(), *model.named_buffers())
    }


def run_both(
    names: list[str], whole: bool, dtype: torch.dtype, recipe: Recipe = RECIPE
) -> tuple[Trainer, nn.Module, Textbook]:
    """Three steps of the trainer and of the textbook's loop, from equal weights."""
    ours, theirs = (network_of(names, whole=whole).to(dtype) for _ in range(2))
    data = images()
    trainer = Trainer([ours], recipe, data, epochs=STEPS, arithmetic=Arithmetic(fused=True))
    textbook = Textbook(theirs, recipe)
    x = data.normalised(data.pixels.float()).to(dtype)
    for step in range(STEPS):
        trainer.step(step, torch.arange(8), None, step)
        textbook.step(x, data.labels, min(recipe.average_decay, (1 + step) / (10 + step)))
    return trainer, ours, textbook


def compare(names: list[str], whole: bool, dtype: torch.dtype, tolerance: float) -> None:
    trainer, ours, textbook = run_both(names, whole, dtype)

    def assert_close(found: Tensor, expected: Tensor, name: str) -> None:
        torch.testing.assert_close(
            found, expected, rtol=tolerance, atol=tolerance, msg=lambda text: f"{name}: {text}"
        )

    for (name, a), (same, b) in zip(
        ours.named_parameters(), textbook.model.named_parameters(), strict=True
    ):
        assert name == same and (a.grad is None) == (b.grad is None), name
        if a.grad is not None and b.grad is not None:
            assert_close(a.grad, b.grad, name)
    expected = tensors(textbook.model)
    found = tensors(ours)
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert_close(found[name], value, name)
    x = images().normalised(images().pixels.float()).to(dtype)
    textbook.model.eval()
    with torch.no_grad():
        assert_close(trainer.network(x, training=False), textbook.model(x), "logits")
    trainer.keep_average()
    for name, value in textbook.averages.items():
        found = tensors(ours)
        assert_close(found[name], value, name)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("name", IDIOMS)
def test_each_idiom_is_trained_as_torch_trains_it(name: str, whole: bool) -> None:
    compare([name], whole, torch.float64, 1e-9)
    compare([name], whole, torch.float32, 1e-3)


@given(drawn=networks())
@settings(max_examples=80, deadline=None)
def test_any_network_is_trained_as_torch_trains_it(drawn: tuple[list[str], bool]) -> None:
    compare(*drawn, torch.float64, 1e-8)


def error(model: nn.Module, exact: nn.Module) -> float:
    """Of all gradients, relative to their length."""
    pairs = [
        (a.grad.flatten().double(), b.grad.flatten())
        for a, b in zip(model.parameters(), exact.parameters(), strict=True)
        if a.grad is not None and b.grad is not None
    ]
    ours, truth = (torch.cat(list(values)) for values in zip(*pairs, strict=True))
    return float((ours - truth).norm() / truth.norm())


@needs_bfloat16
@pytest.mark.parametrize("whole", [False, True])
def test_in_bfloat16_the_gradient_is_as_good_as_autocasts(whole: bool) -> None:
    """Against float64, over all idioms; single networks differ by chance."""
    ours: list[float] = []
    theirs: list[float] = []
    data = images()
    x = data.normalised(data.pixels.float())
    for name in IDIOMS:
        models = [network_of([name], whole=whole) for _ in range(3)]
        exact = models[2].double().train()
        functional.cross_entropy(exact(x.double()), data.labels).backward()  # type: ignore[no-untyped-call]
        network = make_network(models[0], Arithmetic(bfloat16=True), CPU)
        functional.cross_entropy(network(x), data.labels).backward()  # type: ignore[no-untyped-call]
        with torch.autocast("cpu", torch.bfloat16):
            logits = models[1].train()(x)
        functional.cross_entropy(logits.float(), data.labels).backward()  # type: ignore[no-untyped-call]
        ours.append(error(models[0], exact))
        theirs.append(error(models[1], exact))
        assert ours[-1] < 3 * theirs[-1] + 0.05, name
    assert sum(ours) < 1.25 * sum(theirs)


def test_what_is_resumed_ends_with_the_same_bits() -> None:
    """All that steps depend on is in the state, buffers that a state_dict leaves out among it."""
    names = ["replaced buffer", "norm without momentum", "frozen norm", "residual module"]
    data = images()
    ends = []
    for cut in (False, True):
        model = network_of(names)
        trainer = Trainer([model], RECIPE, data, epochs=STEPS, arithmetic=Arithmetic(fused=True))
        for step in range(STEPS):
            if cut and step == 2:
                state = trainer.state()
                model = network_of(names)
                trainer = Trainer(
                    *([model], RECIPE, data), epochs=STEPS, arithmetic=Arithmetic(fused=True)
                )
                trainer.load_states([state])
            trainer.step(step, torch.arange(8), None, step)
        ends.append(tensors(model))
    for name, value in ends[0].items():
        assert torch.equal(value, ends[1][name]), name


def test_lazy_layers_take_their_shapes_from_the_images() -> None:
    from search.training.loop import fit

    def build() -> nn.Module:
        return nn.Sequential(
            *(nn.LazyConv2d(4, 3), nn.LazyBatchNorm2d(), nn.ReLU(), nn.Flatten()),
            nn.LazyLinear(CLASSES),
        )

    done = fit(build, replace(RECIPE, batch_size=4), images(), images(), epochs=1, seed=0)
    assert done.model[4].weight.shape == (CLASSES, 4 * (SIDE - 2) ** 2)  # type: ignore[index]
