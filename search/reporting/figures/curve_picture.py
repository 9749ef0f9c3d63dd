"""A learning curve as a small SVG picture that stands on its own, on light and on dark ground."""

from __future__ import annotations

from collections.abc import Sequence
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 640, 400
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 50, 50  # margins
INK, CURVE, TARGET = "#333", "#1f6fb2", "#b3541e"


def learning_curve(curve: Sequence[tuple[int, float]], *, title: str, target: float | None) -> str:
    """Validation accuracy over epochs with a target.

    Args:
        curve: (epoch, accuracy in [0, 1]) pairs, at least one.
        title: Plain text above the picture.
        target: Accuracy in [0, 1]; None for none.
    """
    late = [value for epoch, value in curve if 4 * epoch > curve[-1][0]]
    shown = late if target is None else [*late, target]
    low, high = min(shown), max(shown)
    margin = 0.08 * (high - low) + 1e-4
    low, high = low - margin, min(1.0, high + margin)
    first, last = curve[0][0], max(curve[-1][0], curve[0][0] + 1)

    def x(epoch: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (epoch - first) / (last - first)

    def y(value: float) -> float:
        share = max(0.0, (value - low) / (high - low))
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * share

    def level(at: float) -> str:
        return line(LEFT, at, WIDTH - RIGHT, at, TARGET, dashed=True)

    points = " ".join(f"{x(epoch):.1f},{y(value):.1f}" for epoch, value in curve)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
        f'width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" font-size="13" fill="{INK}">',
        f"<title>{escape(title)}</title>",
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#fff"/>',
        f'<text x="{LEFT}" y="28" font-size="15">{escape(title)}</text>',
    ]
    for tick in range(5):
        value = low + (high - low) * tick / 4
        parts.append(line(LEFT, y(value), WIDTH - RIGHT, y(value), "#ddd"))
        parts.append(text(LEFT - 8, y(value) + 4, f"{100 * value:.2f} %", "end"))
    for epoch in sorted({first, (first + last) // 2, last}):
        parts.append(text(x(epoch), HEIGHT - BOTTOM + 20, str(epoch), "middle"))
    parts += [
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "epoch", "middle"),
        *([] if target is None else [level(y(target))]),
        f'<polyline points="{points}" fill="none" stroke="{CURVE}" stroke-width="2"/>',
        f'<circle cx="{x(curve[-1][0]):.1f}" cy="{y(curve[-1][1]):.1f}" r="3.5" fill="{CURVE}"/>',
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def line(x1: float, y1: float, x2: float, y2: float, colour: str, *, dashed: bool = False) -> str:
    """A straight line in SVG."""
    dashes = ' stroke-dasharray="5 4"' if dashed else ""
    return (
        f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{dashes}/>'
    )


def text(x: float, y: float, words: str, anchor: str) -> str:
    """A line of text in SVG; ``anchor`` is start, middle or end."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'
