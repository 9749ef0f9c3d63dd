"""Studies beside a search's own in the same storage, so that its sampler never sees their trials.

A candidate of a user lacks the space's parameters. As a trial of the search it would end
the sampler's joint model for good, since that spans only what all finished trials have.
"""

from __future__ import annotations

from collections.abc import Collection

CANDIDATES = " candidates"  # those of users, and the reference systems
SHORTLIST = " shortlist"  # the best, retrained on fresh seeds and judged as in the search
FINALISTS = " finalists"  # the best of these, retrained on all training images and tested


def candidates_of(study: str) -> str:
    """The name of the study that holds the candidates of users beside a search."""
    return study + CANDIDATES


def shortlist_of(study: str) -> str:
    """The name of the study that holds a search's shortlist."""
    return study + SHORTLIST


def finalists_of(study: str) -> str:
    """The name of the study that holds a search's finalists."""
    return study + FINALISTS


def is_companion(name: str, names: Collection[str]) -> bool:
    """Whether a study stands beside another one of the same storage."""
    return any(
        name.endswith(suffix) and name.removesuffix(suffix) in names
        for suffix in (CANDIDATES, SHORTLIST, FINALISTS)
    )
