"""Finalists and public systems by size and test accuracy, as an SVG that stands on its own."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

from search.reporting.claims import Remeasured
from search.reporting.figures.curve_picture import INK, TARGET, line, text
from search.reporting.finalists import Finalist

WIDTH, HEIGHT = 760, 460
LEFT, RIGHT, TOP, BOTTOM = 76, 24, 84, 56  # margins
FOUND, PUBLIC, GRID = "#1f6fb2", "#8a8a8a", "#e2e2e2"
LABEL_HEIGHT = 15.0  # least distance of two labels' baselines
STEPS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
TICKS = (1_000, 2_000, 3_000, 5_000, 8_000, 12_000, 20_000, 40_000, 100_000)


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Where figures lie in the picture: parameters on a logarithmic axis, accuracies on a plain."""

    smallest: float
    largest: float
    low: float
    high: float

    def x(self, parameters: float) -> float:
        """The place of a number of parameters."""
        share = math.log(parameters / self.smallest) / math.log(self.largest / self.smallest)
        return LEFT + (WIDTH - LEFT - RIGHT) * share

    def y(self, accuracy: float) -> float:
        """The place of an accuracy in [0, 1]; one below the picture lies on its lower edge."""
        share = max(0.0, (accuracy - self.low) / (self.high - self.low))
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share


def finalists_picture(
    finalists: Sequence[Finalist], claims: Sequence[Remeasured], *, target: float | None
) -> str:
    """Mean test accuracy against parameters, with 95 % intervals and the systems' claims.

    Args:
        finalists: At least one with a parameter count; public systems among them are left to
            ``claims``. They may come from several searches.
        claims: Of those that were trained, measured mean and claim are both drawn.
        target: Accuracy in [0, 1]; None for none.
    """
    found = [one for one in finalists if not one.is_reference and one.parameters]
    systems = [system for system in claims if system.measured]
    frame = _frame(found, systems, target)
    title = "Test accuracy by size: what the search found" + ", and public systems" * bool(systems)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13" fill="{INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="28" font-size="16">{escape(title)}</text>',
        *_legend(bool(systems)),
        *_axes(frame, target),
        *(mark for system in systems for mark in _system(frame, system)),
        *(mark for one in found for mark in _measured(frame, one, FOUND)),
        *_labels(frame, systems),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _frame(found: Sequence[Finalist], systems: Sequence[Remeasured], target: float | None) -> Frame:
    sizes = [one.parameters or 1 for one in found] + [system.parameters for system in systems]
    shown = [*found, *(system.measured for system in systems if system.measured)]
    bounds = [
        bound
        for one in shown
        for bound in ((one.interval.low, one.interval.high) if one.interval else (one.mean,))
    ]
    bounds += [system.claimed_accuracy for system in systems]
    bounds += [] if target is None else [target]
    margin = 0.06 * (max(bounds) - min(bounds)) + 1e-4
    return Frame(
        smallest=0.8 * min(sizes),
        largest=1.3 * max(sizes),
        low=min(bounds) - margin,
        high=min(1.0, max(bounds) + margin),
    )


def _legend(with_systems: bool) -> list[str]:
    y = 52
    marks = [
        f'<circle cx="{LEFT + 6}" cy="{y - 4}" r="4.5" fill="{FOUND}"/>',
        text(LEFT + 18, y, "found by the search, mean and 95 % interval over seeds", "start"),
    ]
    if with_systems:
        marks += [
            f'<circle cx="{LEFT + 6}" cy="{y + 14}" r="4.5" fill="{PUBLIC}"/>',
            text(LEFT + 18, y + 18, "public system, measured again", "start"),
            _diamond(LEFT + 246, y + 14),
            text(LEFT + 258, y + 18, "what its author claims", "start"),
        ]
    return marks


def _axes(frame: Frame, target: float | None) -> list[str]:
    right, floor = WIDTH - RIGHT, HEIGHT - BOTTOM
    step = next(step for step in STEPS if frame.high - frame.low < 8 * step)
    marks = []
    for at in range(math.ceil(frame.low / step), math.floor(frame.high / step) + 1):
        y = frame.y(at * step)
        marks.append(line(LEFT, y, right, y, GRID))
        marks.append(text(LEFT - 8, y + 4, f"{100 * at * step:.2f} %", "end"))
    for tick in TICKS:
        if frame.smallest <= tick <= frame.largest:
            marks.append(line(frame.x(tick), floor, frame.x(tick), floor + 5, INK))
            marks.append(text(frame.x(tick), floor + 20, f"{tick:,}", "middle"))
    marks.append(line(LEFT, floor, right, floor, INK))
    marks.append(text((LEFT + right) / 2, HEIGHT - 12, "parameters", "middle"))
    if target is not None:
        marks.append(line(LEFT, frame.y(target), right, frame.y(target), TARGET, dashed=True))
        marks.append(text(LEFT + 4, frame.y(target) - 5, f"target {100 * target:.4g} %", "start"))
    return marks


def _measured(frame: Frame, one: Finalist, colour: str) -> list[str]:
    x = frame.x(one.parameters or 1)
    marks = []
    if one.interval:
        marks.append(line(x, frame.y(one.interval.low), x, frame.y(one.interval.high), colour))
    marks.append(f'<circle cx="{x:.1f}" cy="{frame.y(one.mean):.1f}" r="4.5" fill="{colour}"/>')
    return marks


def _system(frame: Frame, system: Remeasured) -> list[str]:
    assert system.measured is not None
    x = frame.x(system.parameters)
    apart = line(
        x, frame.y(system.measured.mean), x, frame.y(system.claimed_accuracy), PUBLIC, dashed=True
    )
    claimed = _diamond(x, frame.y(system.claimed_accuracy))
    return [apart, *_measured(frame, system.measured, PUBLIC), claimed]


def _labels(frame: Frame, systems: Sequence[Remeasured]) -> list[str]:
    """The systems' names left of their marks, pushed apart where they would overlap."""
    wanted = sorted(
        (frame.y(system.measured.mean) + 4, frame.x(system.parameters) - 9, system.label)
        for system in systems
        if system.measured
    )
    marks, last = [], -math.inf
    for y, x, label in wanted:
        last = max(y, last + LABEL_HEIGHT)
        halo = 'paint-order="stroke" stroke="#fff" stroke-width="4"'  # keeps off what it crosses
        marks.append(
            f'<text x="{x:.1f}" y="{last:.1f}" text-anchor="end" {halo}>{escape(label)}</text>'
        )
    return marks


def _diamond(x: float, y: float) -> str:
    corners = f"{x:.1f},{y - 5:.1f} {x + 5:.1f},{y:.1f} {x:.1f},{y + 5:.1f} {x - 5:.1f},{y:.1f}"
    return f'<polygon points="{corners}" fill="#fff" stroke="{PUBLIC}" stroke-width="1.5"/>'
