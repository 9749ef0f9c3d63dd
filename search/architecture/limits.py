"""What a candidate may cost, known before anything is built."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from search.common.values import positive


class Counts(Protocol):
    """What a network costs; None where a study does not record it."""

    @property
    def parameters(self) -> int | None:
        """Trainable ones."""
        ...

    @property
    def macs(self) -> int | None:
        """Multiply-accumulates to classify one image."""
        ...

    @property
    def peak_activation_bytes(self) -> int | None:
        """Input and output of the largest step, float32, one image."""
        ...

    @property
    def flash_bytes(self) -> int | None:
        """Constants of an int8 network."""
        ...


@dataclass(frozen=True, kw_only=True)
class Limits:
    """The most that a candidate may cost; exactly so much is allowed. None is no limit."""

    max_params: int = 20_000  # trainable parameters
    max_macs: int | None = None  # multiply-accumulates of one image
    max_ram: int | None = None  # bytes of the peak activations of one image, int8
    max_flash: int | None = None  # bytes of weights and other constants, int8

    @property
    def parameters(self) -> int:
        """The most parameters that all limits leave: of an int8 network each takes a byte."""
        return min(self.max_params, self.max_flash or self.max_params)


@dataclass(frozen=True)
class LimitKind:
    """One of the limits: its field, what it counts, and how."""

    field: str
    unit: str  # of one
    units: str
    count: Callable[[Counts], int | None]

    @property
    def option(self) -> str:
        """On the command line: ``--max-params``."""
        return "--" + self.field.replace("_", "-")

    def words(self, count: int) -> str:
        """A count with its unit: ``20,000 parameters``."""
        return f"{count:,} {self.unit if count == 1 else self.units}"


def _ram(counts: Counts) -> int | None:
    peak = counts.peak_activation_bytes
    return None if peak is None else -(-peak // 4)  # a byte for each value of four


KINDS = (
    LimitKind("max_params", "parameter", "parameters", lambda of: of.parameters),
    LimitKind("max_macs", "multiply-accumulate", "multiply-accumulates", lambda of: of.macs),
    LimitKind("max_ram", "byte of RAM (int8)", "bytes of RAM (int8)", _ram),
    LimitKind(
        "max_flash", "byte of flash (int8)", "bytes of flash (int8)", lambda of: of.flash_bytes
    ),
)


def demands(limits: Limits, counts: Counts) -> Iterator[tuple[LimitKind, int, int | None]]:
    """Each limit that is set: its kind, the limit, and the count."""
    for kind in KINDS:
        limit = getattr(limits, kind.field)
        if limit is not None:
            yield kind, limit, kind.count(counts)


def is_within(limits: Limits, counts: Counts) -> bool:
    """Whether every limit is known to be kept."""
    return all(count is not None and count <= limit for _, limit, count in demands(limits, counts))


def recorded_limits(settings: Mapping[str, Any]) -> dict[str, int]:
    """The limits in a study's recorded settings, by field."""
    found = {kind.field: positive(settings.get(kind.field)) for kind in KINDS}
    return {field: limit for field, limit in found.items() if limit is not None}


def excesses(limits: Limits, counts: Counts) -> dict[str, float]:
    """How far over each limit a candidate is, by name: Optuna's constraints, at most 0 if not.

    As a share of the limit; far over it is all the same, and what is not known is not over.
    """
    return {
        f"{kind.units} over the limit": min(count or 0, limit * 10**9) / limit - 1
        for kind, limit, count in demands(limits, counts)
    }
