"""Studies by the names that a command line gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.common.errors import UserError
from search.study.storages.naming import names_apart, open_named, storage_of
from search.study.storages.opening import create_study


@pytest.mark.parametrize(
    ("named", "storage", "study"),
    [
        ("a.db", "a.db", None),
        ("a.db::small", "a.db", "small"),
        ("postgresql+psycopg://u@[::1]/x", "postgresql+psycopg://u@[::1]/x", None),
        ("postgresql+psycopg://u@[::1]/x::s t", "postgresql+psycopg://u@[::1]/x", "s t"),
    ],
)
def test_a_study_of_several_is_named_after_two_colons(
    named: str, storage: str, study: str | None
) -> None:
    assert storage_of(named) == (storage, study)


def test_short_names_tell_studies_apart(tmp_path: Path) -> None:
    places = ("x/study.db", "y/study.db", "y/other.db")
    for place in places:
        (tmp_path / place).parent.mkdir(exist_ok=True)
        create_study(str(tmp_path / place), "cnn-search")
    create_study(str(tmp_path / places[0]), "second")

    def names(*named: str) -> list[str]:
        return names_apart([open_named(str(tmp_path / one)) for one in named])

    assert names("x/study", "y/study.db") == ["x", "y"]
    assert names("x/study.db::cnn-search", "y/other") == ["study", "other"]
    assert names("x/study.db::cnn-search", "y/study", "y/other") == [
        "x/study",
        "y/study",
        "y/other",
    ]
    assert names("x/study.db::cnn-search", "x/study.db::second") == ["study", "study (second)"]
    with pytest.raises(UserError, match="there is no study at"):
        names("none.db")
