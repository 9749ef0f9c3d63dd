"""The public systems' claims beside what the finalists command measured of them."""

from __future__ import annotations

from dataclasses import dataclass

from search.architecture.counting import count_parameters
from search.architecture.references import REFERENCES
from search.common.text import counted
from search.data.problem import Problem
from search.reporting.finalists import Finalist, Finalists
from search.reporting.records import REFERENCE, STAND_IN, StudyLimits, TrialRecord, reference_label

HEADING = "Public systems, claimed and measured again"
SAYS = (
    "Claims are their authors': mostly the best of many epochs on the test images, with one seed. "
    "Parameters are counted. Measured again: its own recipe, under the finalists' protocol."
)


@dataclass(frozen=True, kw_only=True)
class Remeasured:
    """One public system."""

    label: str  # as the finalists' table has it
    claim: str  # its author's
    claimed_accuracy: float  # in [0, 1]
    parameters: int  # counted
    measured: Finalist | None  # None for one that was not trained
    verdict: str


def claim_of(trial: TrialRecord, problem: Problem) -> str:
    """What a reference system's author claimed of these images, in their terms; else empty."""
    known = REFERENCES.get(trial.reference.removesuffix(STAND_IN))
    return known.claim if known and trial.is_reference and problem.is_mnist else ""


def remeasured(
    finalists: Finalists, limits: StudyLimits, problem: Problem
) -> tuple[Remeasured, ...]:
    """Every known system, or none at all where the finalists were tested without them.

    Args:
        finalists: All that was tested.
        limits: Of the search; a system beyond them is rejected, not trained.
        problem: The claims are of MNIST: on other images there are none.
    """
    found = {entry.label: entry for entry in finalists.entries if entry.is_reference}
    if not found or not problem.is_mnist:
        return ()
    rows = []
    for key, reference in REFERENCES.items():
        label = reference_label(f"{REFERENCE} {key}")
        parameters = count_parameters(reference.candidate)
        measured = found.get(label)
        rows.append(
            Remeasured(
                label=label.removeprefix(REFERENCE).strip(),
                claim=reference.claim,
                claimed_accuracy=reference.claimed_accuracy,
                parameters=parameters,
                measured=measured,
                verdict=_verdict(reference.claimed_accuracy, parameters, measured, limits),
            )
        )
    return tuple(rows)


def _verdict(
    claimed: float, parameters: int, measured: Finalist | None, limits: StudyLimits
) -> str:
    if parameters > limits.max_params:
        return f"rejected: more than {counted(limits.max_params, 'parameter')}"
    if measured is None:
        return "not measured again"
    if measured.interval is None:
        return "a single seed says nothing of the claim"
    if claimed > measured.interval.high:
        return f"claim is {100 * (claimed - measured.mean):.2f} points above the mean"
    if claimed < measured.interval.low:
        return f"claim is {100 * (measured.mean - claimed):.2f} points below the mean"
    return "claim lies within the interval"
