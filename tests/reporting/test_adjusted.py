"""What was trained otherwise than its recipe asks, in every form of the report."""

from __future__ import annotations

import json
from html import unescape

from search.finals.user_candidates import result
from search.reporting.dashboard.view import how_it_ended
from search.reporting.finalists import read_finalists
from search.reporting.leaderboard import summarize
from search.reporting.pages.writing import render
from tests.reporting.studies import complete, study_of

SAID = "1 epoch instead of its recipe's 100"


def test_every_form_says_it() -> None:
    study = study_of([complete(adjusted=[SAID]), complete(accuracy=0.98, adjusted="no list")])
    forms = render(summarize(study), top=5)
    markdown = unescape(forms["leaderboard.md"]).replace("\\", "")
    assert f"Deviations from the recipe: trial 0: {SAID}." in markdown
    page = unescape(forms["leaderboard.html"])
    assert SAID in page.split("<dt>deviations from its recipe</dt>")[1][:100]
    assert page.count("<dt>deviations from its recipe</dt>") == 1
    assert SAID in forms["leaderboard.csv"]
    trials = json.loads(forms["leaderboard.json"])["trials"]
    assert [trial["adjusted"] for trial in trials] == [[SAID], []]


def test_the_dashboard_and_the_commands_say_it() -> None:
    trial = complete(adjusted=[SAID], epochs=1)
    assert how_it_ended(trial) == f"complete: 99.00 % after 1 epoch; {SAID}"
    assert result(trial) == f"99.00 % with 10,000 parameters, {SAID}"


def test_a_finalist_says_it() -> None:
    trial = complete(adjusted=[SAID], kind="finalist", seed=1, test_accuracy=0.9, candidate=None)
    found = read_finalists([trial], None, target=0.994)
    assert found is not None
    assert found.entries[0].adjusted == (SAID,)
