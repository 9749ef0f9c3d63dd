"""The finalists' picture: every mark inside its frame and at its figure, labels apart."""

from __future__ import annotations

import itertools
import xml.etree.ElementTree as ET

import pytest

from search.reporting.figures.finalists_picture import HEIGHT, WIDTH, finalists_picture
from search.reporting.finalists import Finalists
from search.reporting.leaderboard import Summary
from tests.reporting.test_finalists import group, with_finalists

SVG = "{http://www.w3.org/2000/svg}"


def example() -> Summary:
    narrow = group(0.9920, 0.9921, label="reference: narrow-8k", kind="reference")
    same = group(0.9920, 0.9921, label="reference: valid-conv-18k", kind="reference")
    other = group(0.9958, 0.9962, candidate='{"a": 1}', parameters=18_000, search_trial=4)
    return with_finalists(group(0.9950, 0.9954) + other + narrow + same)


def drawn(summary: Summary) -> ET.Element:
    finalists = summary.finalists
    assert isinstance(finalists, Finalists)
    return ET.fromstring(finalists_picture(finalists.entries, summary.claims, target=0.994))


def test_every_mark_lies_inside() -> None:
    root = drawn(example())
    dots = [(float(c.attrib["cx"]), float(c.attrib["cy"])) for c in root.iter(f"{SVG}circle")]
    assert len(dots) == 2 + 2 + 2  # legend, finalists, public systems
    assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in dots)
    for diamond in root.iter(f"{SVG}polygon"):
        points = [tuple(map(float, pair.split(","))) for pair in diamond.attrib["points"].split()]
        assert all(0 < x < WIDTH and 0 < y < HEIGHT for x, y in points)


def test_better_is_higher_and_larger_is_further_right() -> None:
    root = drawn(example())
    found = [c for c in root.iter(f"{SVG}circle") if c.attrib["fill"] == "#1f6fb2"][1:]
    best, second = ((float(c.attrib["cx"]), float(c.attrib["cy"])) for c in found)
    assert best[0] > second[0]  # 18,000 against 9,000 parameters
    assert best[1] < second[1]  # 99.60 % against 99.52 %


def test_labels_do_not_overlap() -> None:
    """Two systems of one mean keep their names apart."""
    labels = [e for e in drawn(example()).iter(f"{SVG}text") if "-" in (e.text or "")]
    named = sorted(
        float(e.attrib["y"]) for e in labels if e.text in ("narrow-8k", "valid-conv-18k")
    )
    assert len(named) == 2
    assert all(b - a >= 15 for a, b in itertools.pairwise(named))


def test_the_title_names_public_systems_only_where_there_are_some() -> None:
    titles = [
        drawn(one).findtext(f"{SVG}title") or ""
        for one in (example(), with_finalists(group(0.995, 0.996)))
    ]
    assert ["public systems" in title for title in titles] == [True, False]


@pytest.mark.parametrize("accuracies", [(0.995,), (0.995, 0.996), (0.5, 0.6)])
def test_a_single_finalist_has_a_picture(accuracies: tuple[float, ...]) -> None:
    root = drawn(with_finalists(group(*accuracies)))
    assert len(list(root.iter(f"{SVG}circle"))) == 2
