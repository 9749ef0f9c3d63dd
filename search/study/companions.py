"""Studies beside a search's own in the same storage, so that its sampler never sees their trials.

A candidate of a user lacks the space's parameters. As a trial of the search it would end
the sampler's joint model for good, since that spans only what all finished trials have.
"""

from __future__ import annotations

from collections.abc import Collection

CANDIDATES = " candidates"  # those of users, and the reference systems
SHORTLIST = " shortlist"  # the best, retrained on fresh seeds and judged as in the search
FINALISTS = " finalists"  # the best of these, retrained on all training images and tested
KNOWN = " known"  # trainings of other studies, for the sampler to learn from
KEPT = " before change "  # and a number: what it was before that


def candidates_of(study: str) -> str:
    """The name of the study that holds the candidates of users beside a search."""
    return study + CANDIDATES


def shortlist_of(study: str) -> str:
    """The name of the study that holds a search's shortlist."""
    return study + SHORTLIST


def finalists_of(study: str) -> str:
    """The name of the study that holds a search's finalists."""
    return study + FINALISTS


def known_of(study: str) -> str:
    """The name of the study that holds what a search knows from other studies."""
    return study + KNOWN


def kept_of(study: str, number: int) -> str:
    """The name that keeps what a search was before the n-th change of its space."""
    return f"{study}{KEPT}{number}"


def is_kept(name: str, *, of: str) -> bool:
    """Whether a study keeps what a search was."""
    return name.startswith(of + KEPT) and name.removeprefix(of + KEPT).isdecimal()


def is_companion(name: str, names: Collection[str]) -> bool:
    """Whether a study stands beside another one of the same storage."""
    suffixes = (CANDIDATES, SHORTLIST, FINALISTS, KNOWN)
    return is_kept(name, of=name.rpartition(KEPT)[0]) or any(
        name.endswith(one) and name.removesuffix(one) in names for one in suffixes
    )
