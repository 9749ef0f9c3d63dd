"""What is written into trials and studies beside their values, and how it is read again.

Anyone who opens a study can edit the attributes of its running trials and of the study, in the
dashboard for instance. So each is read through this table alone: what is unusable reads as if it
were not there, and costs at most its own trial.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.trial import FrozenTrial

LARGEST = 2**63 - 1  # the largest count that is believed: sums and quotients of such are finite
T = TypeVar("T")


def number(value: object) -> float | None:
    """A finite number, or None for anything else (a bool included)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value) if math.isfinite(value) else None
    except OverflowError:  # a whole number that no float holds
        return None


def integer(value: object) -> int | None:
    """A whole number, exactly, or None for anything else."""
    if number(value) is None:
        return None
    whole = int(value)  # type: ignore[call-overload]  # not by way of a float: exactly
    return whole if whole == value and abs(whole) <= LARGEST else None


def natural(value: object) -> int | None:
    """A whole number of at least 0, or None."""
    whole = integer(value)
    return None if whole is None or whole < 0 else whole


def positive(value: object) -> int | None:
    """A whole number of at least 1, or None."""
    return natural(value) or None


def seconds(value: object) -> float | None:
    """A time that a training may take, up to thirty years, or None."""
    finite = number(value)
    return None if finite is None or not 0 <= finite <= 1e9 else finite


def share(value: object) -> float | None:
    """A number from 0 to 1, or None."""
    finite = number(value)
    return None if finite is None or not 0 <= finite <= 1 else finite


def flag(value: object) -> bool | None:
    """True or False, or None for anything else."""
    return value if isinstance(value, bool) else None


def string(value: object) -> str | None:
    """A string as it is, or None for anything else."""
    return value if isinstance(value, str) else None


def text(value: object) -> str:
    """A string on one line without control characters; the empty string for anything else.

    A terminal obeys escape sequences, and a study may come from anywhere.
    """
    if not isinstance(value, str):
        return ""
    return "".join(letter for letter in " ".join(value.split()) if letter.isprintable())


def mapping(value: object) -> dict[str, Any]:
    """An object of JSON; an empty one for anything else."""
    return value if isinstance(value, dict) else {}


def items(value: object) -> list[Any]:
    """A list; an empty one for anything else."""
    return value if isinstance(value, list) else []


@dataclass(frozen=True)
class Attribute(Generic[T]):
    """One user attribute: its name, and what makes a usable value of it or None."""

    name: str
    kind: Callable[[object], T]

    def of(self, owner: FrozenTrial | Trial | Study) -> T:
        """Its value in a trial or a study."""
        return self.kind(owner.user_attrs.get(self.name))


# Written when a candidate is counted (objective, retraining); read by every view and report.
ARCHITECTURE = Attribute("architecture", text)
PARAMETERS = Attribute("parameters", positive)
MACS = Attribute("macs", positive)
PEAK_BYTES = Attribute("peak_activation_bytes", positive)
CANDIDATE = Attribute("candidate", string)  # JSON; also rebuilds the network (finals, export)
OVER_BUDGET = Attribute("over_budget", flag)
# Written when its training begins (objective, retraining); read by reproduce, export and reports.
SEED = Attribute("seed", natural)
DEVICE = Attribute("device", text)
COMMIT = Attribute("commit", text)
VERSIONS = Attribute("versions", mapping)
TRAINED_ON = Attribute("trained_on", mapping)
# Written when it ends (objective, retraining, workers); read by every view and report.
REASON = Attribute("reason", text)
TRACEBACK = Attribute("traceback", string)
SECONDS = Attribute("seconds", seconds)
EPOCHS = Attribute("epochs", positive)
BEST_EPOCH = Attribute("best_epoch", positive)
BEST_ACCURACY = Attribute("best_accuracy", share)
# Written when it is queued (handed_in, finals, study_settings); read by who works the queue off.
LABEL = Attribute("label", string)
HANDED_IN = Attribute("handed_in", string)  # the candidate as JSON, in place of parameters
FINALIST = Attribute("finalist", mapping)  # which training of the shortlist or finalists it is
# Written and read by who hands trials out (study.shared, workers.coordinator).
PARENT = Attribute("parent", string)  # the process that asked for it, and tells how it ended
WORKER = Attribute("worker", string)  # the process that trains it
DEATHS = Attribute("worker_deaths", mapping)  # count, and the epoch after which they were
RETRIED = Attribute("retried", flag)  # of older studies: a copy of it was trained again
# Of a study: written by study_settings and finals; read by every command.
SETTINGS = Attribute("settings", mapping)
CHANGES = Attribute("continued_with_other_settings", items)
OPENINGS = Attribute("test set openings", items)
