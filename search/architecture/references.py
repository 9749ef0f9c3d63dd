"""The five public systems for MNIST that the search has to beat.

What their authors printed is kept of each: every claim was chosen by looking at the test set,
mostly the best of many epochs, with one seed.
"""

from __future__ import annotations

from dataclasses import dataclass

from search.architecture.candidate import LayeredCandidate
from search.architecture.layers import Conv, Dropout, Head, Layer, Pool
from search.training.recipe import Augmentation, Recipe


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A public system: its author's claim, and the candidate that it is here."""

    name: str
    claimed_accuracy: float  # in [0, 1]
    claim: str  # in its author's terms
    exact: bool  # False: a stand-in, since the layout is not known
    note: str  # what was not disclosed and how it was filled in
    candidate: LayeredCandidate  # what it is here, with its own recipe


def _block(*layers: Layer, dropout: float = 0.0) -> tuple[Layer, ...]:
    """The layers, with dropout after each of them when a rate is given."""
    if not dropout:
        return layers
    return tuple(item for layer in layers for item in (layer, Dropout(rate=dropout)))


REFERENCES: dict[str, Reference] = {
    "narrow-8k": Reference(
        name="narrow-8k",
        candidate=LayeredCandidate(
            layers=(
                *_block(Conv(width=4), Conv(width=4), Conv(width=8), dropout=0.05),
                Pool(),
                *_block(
                    Conv(width=8, kernel=1),
                    Conv(width=16),
                    Conv(width=16),
                    Conv(width=16, padding=1),
                    Conv(width=16, padding=1),
                    dropout=0.05,
                ),
            ),
            head=Head(kind="conv-gap", bias=False),
            recipe=Recipe(
                learning_rate=0.1,
                nesterov=False,
                weight_decay=0.0,
                batch_size=128,
                schedule="constant",
                epochs=15,
                augmentation=Augmentation(rotation=35.0),
            ),
        ),
        claimed_accuracy=0.9950,
        claim="99.50 % at 8,932 parameters (epoch 14 of 15)",
        exact=True,
        note="The schedule is not disclosed; a constant rate is used.",
    ),
    "valid-conv-18k": Reference(
        name="valid-conv-18k",
        candidate=LayeredCandidate(
            layers=(
                Conv(width=8),
                Conv(width=16),
                Pool(),
                Dropout(rate=0.05),
                Conv(width=16),
                Conv(width=32),
                Pool(),
                Dropout(rate=0.05),
                Conv(width=32),
                Dropout(rate=0.05),
            ),
            head=Head(kind="gap-linear", bias=True),
            recipe=Recipe(
                learning_rate=0.03,
                nesterov=False,
                weight_decay=5e-4,
                batch_size=256,
                schedule="constant",
                epochs=20,
            ),
        ),
        claimed_accuracy=0.9943,
        claim="99.43 % at fewer than 20,000 parameters (epoch 20 of 20)",
        exact=True,
        note="Convolution biases are not disclosed; without them it has 17,890 parameters.",
    ),
    "gap-1x1-19k": Reference(
        name="gap-1x1-19k",
        candidate=LayeredCandidate(
            layers=(
                *_block(Conv(width=16)),
                *_block(Conv(width=32), dropout=0.1),
                Pool(),
                *_block(Conv(width=16, kernel=1), Conv(width=32), Conv(width=32), dropout=0.1),
            ),
            head=Head(kind="gap-linear", bias=False),
            recipe=Recipe(
                learning_rate=0.002,
                optimizer="adam",
                weight_decay=0.0,
                batch_size=128,
                schedule="step",
                milestones=(7, 14),
                epochs=20,
            ),
        ),
        claimed_accuracy=0.9929,
        claim="99.29 % at 19,664 parameters (epochs 13 and 17 of 20)",
        exact=True,
        note="Optimiser and batch size are not disclosed; Adam and 128 are used.",
    ),
    "adaptive-pool-18k": Reference(
        name="adaptive-pool-18k",
        candidate=LayeredCandidate(
            layers=(
                Conv(width=10),
                Conv(width=12),
                Pool(),
                Conv(width=24),
                Conv(width=28),
                Pool(),
                Conv(width=32),
            ),
            head=Head(kind="gap-linear", bias=False),
            recipe=Recipe(
                learning_rate=0.03,
                nesterov=False,
                weight_decay=0.0,
                batch_size=128,
                schedule="constant",
                epochs=20,
            ),
        ),
        claimed_accuracy=0.9942,
        claim="99.42 % at 18,406 parameters (best epoch 18; last epoch 99.24 %)",
        exact=False,
        note="A stand-in with the claimed parameter count: layout and recipe are not disclosed.",
    ),
    "wide-vgg": Reference(
        name="wide-vgg",
        candidate=LayeredCandidate(
            layers=(
                Conv(width=32, padding=1, bias=True, norm=False),
                Conv(width=64, padding=1, bias=True, norm=False),
                Pool(),
                Conv(width=128, padding=1, bias=True, norm=False),
                Conv(width=256, padding=1, bias=True, norm=False),
                Pool(),
                Conv(width=512, bias=True, norm=False),
                Conv(width=1024, bias=True, norm=False),
            ),
            head=Head(kind="conv-gap", kernel=3, bias=True),
            recipe=Recipe(
                learning_rate=0.01,
                nesterov=False,
                weight_decay=0.0,
                batch_size=512,
                schedule="constant",
                epochs=20,
            ),
        ),
        claimed_accuracy=0.9945,
        claim='99.45 % at "< 20k" parameters (epoch 19 of 20)',
        exact=True,
        note="Its claim is false: it has over six million parameters. Padding, biases and rate "
        "are not disclosed; they do not change the verdict.",
    ),
}
