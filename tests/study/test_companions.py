"""Studies beside a search's own: told apart by name, and never taken for the search."""

from __future__ import annotations

from pathlib import Path

from search.study.companions import candidates_of, finalists_of, is_companion, shortlist_of
from search.study.storages.opening import create_study, open_study


def test_a_study_without_the_one_that_it_is_named_after_is_no_companion() -> None:
    assert is_companion("a candidates", ["a", "a candidates"])
    assert is_companion("a shortlist", ["a", "a shortlist"])
    assert is_companion("a finalists", ["a", "a finalists"])
    assert not is_companion("a candidates", ["a candidates"])
    assert not is_companion("a", ["a", "a finalists"])


def test_the_only_search_of_a_storage_is_opened_whatever_stands_beside_it(tmp_path: Path) -> None:
    storage = str(tmp_path / "study.db")
    for name in ("mine", candidates_of("mine"), shortlist_of("mine"), finalists_of("mine")):
        create_study(storage, name)
    assert open_study(storage).study_name == "mine"
    assert open_study(storage, "mine candidates").study_name == "mine candidates"
