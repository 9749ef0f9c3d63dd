from __future__ import annotations

import base64
import hashlib
import json
import re
import time
from html.parser import HTMLParser

import optuna
import pytest

from search.reporting.leaderboard import Summary, summarize
from search.reporting.pages.page import to_html
from search.reporting.pages.writing import render
from tests.reporting.studies import SETTINGS, complete, pruned, realistic, study_of

MARKUP = '</script><script>alert(1)</script><img src=x onerror="alert(2)">{{ 7 * 7 }}\'"'


class Reader(HTMLParser):
    """Collects a page's tags with their attributes, and its text outside scripts and styles."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self._inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self._inside = tag

    def handle_endtag(self, tag: str) -> None:
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside not in ("script", "style"):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join("".join(self.words).replace("\u00a0", " ").split())


@pytest.fixture(scope="session")
def page(summary: Summary) -> str:
    return to_html(summary, top=50)


def test_nothing_is_fetched(page: str) -> None:
    tags = Reader(page).tags

    for tag, attrs in tags:
        for name in ("src", "href", "action", "data", "srcset"):
            assert (attrs.get(name) or "data:").startswith("data:"), (tag, attrs)
    style = page[page.index("<style>") : page.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_the_policy_allows_our_two_scripts_and_no_address(page: str) -> None:
    tags = Reader(page).tags
    policy = next(attrs["content"] for tag, attrs in tags if attrs.get("http-equiv") is not None)
    script = page[page.rindex("<script>") + len("<script>") : page.rindex("</script>")]
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()

    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert f"'sha256-{digest}'" in policy
    assert "unsafe-inline" not in policy.split("style-src")[0]
    assert "http" not in policy


def test_nothing_in_the_data_can_end_its_element(page: str) -> None:
    data = page.split('id="data">')[1].split("</script>")[0]

    assert "<" not in data
    assert len(json.loads(data)["figures"]) == 10


def test_the_sections_are_in_order(page: str) -> None:
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", page)

    assert headings == [
        "Leaderboard",
        "Accuracy against parameters",
        "How the search went",
        "Parameter importance",
        "Where the time went",
        "Health checks",
        "For graders",
    ]
    assert page.index("<h1>") < page.index("<h2")
    assert len(re.findall("<h1", page)) == 1


def test_every_figure_has_a_sentence_and_an_alternative(page: str) -> None:
    figures = re.findall(r"<figure>.*?</figure>", page, flags=re.DOTALL)

    assert len(figures) == 10
    for figure in figures:
        assert re.search(r'<p class="says">\s*\S+', figure)
        assert re.search(r'role="img" aria-label="[^"]{20,}"', figure)


def test_every_control_refers_to_something(page: str) -> None:
    tags = Reader(page).tags
    ids = [attrs["id"] for _, attrs in tags if "id" in attrs]

    assert len(ids) == len(set(ids))
    for _, attrs in tags:
        for name in ("aria-controls", "aria-labelledby"):
            assert attrs.get(name, ids[0]) in ids
    assert {attrs.get("scope") for tag, attrs in tags if tag == "th"} == {"col", "row"}


def test_names_with_markup_are_text() -> None:
    ranges = {MARKUP: optuna.distributions.FloatDistribution(0, 1)}
    trials = [
        complete(
            accuracy=0.98 + n / 10_000,
            label=f"reference: {MARKUP}" if n == 0 else MARKUP,
            architecture=MARKUP,
            device=MARKUP,
            params={MARKUP: n / 30},
            distributions=ranges,
        )
        for n in range(25)
    ]
    trials.append(pruned(reason=MARKUP, label=f"reference: {MARKUP}"))
    settings = {**SETTINGS, "sampler": MARKUP, "dataset": {"name": MARKUP}}
    study = study_of(trials, name=MARKUP, settings=settings)
    page = to_html(summarize(study), top=30)
    reader = Reader(page)

    assert len([tag for tag, _ in reader.tags if tag == "script"]) == 3
    assert not [tag for tag, _ in reader.tags if tag in ("img", "a")]
    assert not [attrs for _, attrs in reader.tags if any(name.startswith("on") for name in attrs)]
    assert "{{ 7 * 7 }}" in reader.text
    assert "49'" not in reader.text


@pytest.mark.parametrize(
    "trials",
    [
        [],
        [complete(accuracy=0.995)],
        [pruned(reason="median")],
        [pruned(reason="over budget", last=None, over_budget=True)],
        [complete(parameters=None)],
    ],
)
def test_odd_studies_have_a_page(trials: list[optuna.trial.FrozenTrial]) -> None:
    texts = render(summarize(study_of(trials, settings=None)), top=5)

    assert "Health checks" in Reader(texts["leaderboard.html"]).text
    assert all(texts.values())


def test_a_thousand_trials_take_under_ten_seconds_and_five_megabytes() -> None:
    study = optuna.create_study(direction="maximize")
    study.set_user_attr("settings", SETTINGS)
    study.add_trials(realistic(1000))

    start = time.process_time()
    texts = render(summarize(study), top=50)

    assert time.process_time() - start < 10
    assert len(texts["leaderboard.html"].encode()) < 5_000_000
