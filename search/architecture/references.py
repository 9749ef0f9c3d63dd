"""The five public systems for MNIST that the search has to beat.

What their authors printed is kept of each: every claim was chosen by looking at the test set,
mostly the best of many epochs, with one seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from space import Candidate


@dataclass(frozen=True, kw_only=True)
class Reference:
    """A public system: its author's claim, and the candidate that it is here."""

    name: str
    claimed_accuracy: float  # in [0, 1]
    claim: str  # in its author's terms
    exact: bool  # False: a stand-in, since the layout is not known
    note: str  # what was not disclosed and how it was filled in

    @property
    def candidate(self) -> Candidate:
        """The system in the space that this program comes with; see ``expressible``."""
        from search.architecture.reference_candidates import CANDIDATES

        return CANDIDATES[self.name]


def expressible() -> bool:
    """Whether ``space.py`` has what the systems are made of; another space need not."""
    try:
        import search.architecture.reference_candidates  # noqa: F401
    except Exception:  # noqa: BLE001  whatever another space means by these names
        return False
    return True


REFERENCES: dict[str, Reference] = {
    "narrow-8k": Reference(
        name="narrow-8k",
        claimed_accuracy=0.9950,
        claim="99.50 % at 8,932 parameters (epoch 14 of 15)",
        exact=True,
        note="The schedule is not disclosed; a constant rate is used.",
    ),
    "valid-conv-18k": Reference(
        name="valid-conv-18k",
        claimed_accuracy=0.9943,
        claim="99.43 % at fewer than 20,000 parameters (epoch 20 of 20)",
        exact=True,
        note="Convolution biases are not disclosed; without them it has 17,890 parameters.",
    ),
    "gap-1x1-19k": Reference(
        name="gap-1x1-19k",
        claimed_accuracy=0.9929,
        claim="99.29 % at 19,664 parameters (epochs 13 and 17 of 20)",
        exact=True,
        note="Optimiser and batch size are not disclosed; Adam and 128 are used.",
    ),
    "adaptive-pool-18k": Reference(
        name="adaptive-pool-18k",
        claimed_accuracy=0.9942,
        claim="99.42 % at 18,406 parameters (best epoch 18; last epoch 99.24 %)",
        exact=False,
        note="A stand-in with the claimed parameter count: layout and recipe are not disclosed.",
    ),
    "wide-vgg": Reference(
        name="wide-vgg",
        claimed_accuracy=0.9945,
        claim='99.45 % at "< 20k" parameters (epoch 19 of 20)',
        exact=True,
        note="Its claim is false: it has over six million parameters. Padding, biases and rate "
        "are not disclosed; they do not change the verdict.",
    ),
}
