"""The reference systems as candidates of the space that this program comes with.

Apart from ``references``, since another ``space.py`` has other layers or none: this file alone
cannot then be imported.
"""

from __future__ import annotations

from search.training.recipe import Augmentation, Recipe
from space import Candidate, Conv, Dropout, Head, Layer, Pool


def _block(*layers: Layer, dropout: float = 0.0) -> tuple[Layer, ...]:
    """The layers, with dropout after each of them when a rate is given."""
    if not dropout:
        return layers
    return tuple(item for layer in layers for item in (layer, Dropout(rate=dropout)))


CANDIDATES: dict[str, Candidate] = {
    "narrow-8k": Candidate(
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
    "valid-conv-18k": Candidate(
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
    "gap-1x1-19k": Candidate(
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
    "adaptive-pool-18k": Candidate(
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
    "wide-vgg": Candidate(
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
}
