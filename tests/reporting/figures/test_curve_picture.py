"""The learning curve's picture: well-formed, inside its frame, whatever the curve and the title."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from search.reporting.figures.curve_picture import HEIGHT, WIDTH, learning_curve

SVG = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize(
    "curve", [[(1, 0.5)], [(1, 0.1), (2, 0.99), (3, 0.995)], [(e, 1.0) for e in range(1, 21)]]
)
def test_every_point_lies_inside(curve: list[tuple[int, float]]) -> None:
    root = ET.fromstring(learning_curve(curve, title="a <b> & c", target=0.994))
    line = root.find(f"{SVG}polyline")
    assert line is not None
    points = [tuple(map(float, pair.split(","))) for pair in line.attrib["points"].split()]
    assert len(points) == len(curve)
    assert all(0 <= x <= WIDTH and 0 <= y <= HEIGHT for x, y in points)
    assert root.find(f"{SVG}title").text == "a <b> & c"  # type: ignore[union-attr]
