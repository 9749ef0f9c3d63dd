"""A search begins with what other studies found."""

from __future__ import annotations

from pathlib import Path

import optuna
import pytest
from optuna.trial import TrialState

from search.architecture.spaces import Space
from search.common.errors import UserError
from search.study import attributes
from search.study.companions import known_of
from search.study.storages.opening import create_study
from search.study.storages.stored import StoredStudy
from search.study.transfer.knowledge import BEST, begin_from, known_to, read_source
from tests.study.transfer.spaces import FIRST, space_of

SETTINGS = {"max_params": 777, "epochs": 1, "seed": 0, "dataset": {"name": "MNIST"}, "space": {}}


def searched(path: Path, space: Space, count: int, *, name: str = "cnn-search") -> StoredStudy:
    """A study whose trials are the better the wider they are."""
    study = create_study(str(path), name)
    attributes.SETTINGS.set(study, SETTINGS)
    study.sampler = optuna.samplers.RandomSampler(seed=3)
    for _ in range(count):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, 0.9 + trial.params["width"] / 1_000)
    return study


def empty(path: Path) -> StoredStudy:
    study = create_study(str(path), "cnn-search")
    attributes.SETTINGS.set(study, SETTINGS)
    return study


def begun(study: StoredStudy, path: Path, space: Space, *sources: str) -> list[str]:
    own = {"storage": str(path), "name": "cnn-search"}
    return begin_from(study, [read_source(one, **own) for one in sources], space)


def test_the_best_are_queued_and_all_are_known(tmp_path: Path) -> None:
    space = space_of(tmp_path)
    other = searched(tmp_path / "other.db", space, 20)
    study = empty(tmp_path / "s.db")
    lines = begun(study, tmp_path / "s.db", space, str(tmp_path / "other"))  # without .db
    assert "20 trainings of 20 candidates" in lines[0]
    assert "(MNIST, at most 777 parameters)" in lines[0]
    assert lines[-1] == f"{BEST} candidates of theirs queued"
    best = sorted(other.trials, key=lambda trial: -(trial.value or 0))[:BEST]
    for one in best:
        trial = study.ask()
        space.suggest(trial)
        assert trial.params == one.params
        label = attributes.LABEL.of(trial) or ""
        assert label.endswith(f"/other, trial {one.number}")
        study.tell(trial, 0.5)
    known = known_to(study, space)
    assert sorted((t.value or 0, t.params["width"]) for t in known) == sorted(
        (t.value or 0, t.params["width"]) for t in other.trials
    )


def test_the_same_again_takes_nothing_twice_and_what_is_new_alone(tmp_path: Path) -> None:
    space = space_of(tmp_path)
    (tmp_path / "here").mkdir()
    searched(tmp_path / "here" / "other.db", space, 12)
    study = empty(tmp_path / "s.db")
    place = str(tmp_path / "here" / "other.db")
    begun(study, tmp_path / "s.db", space, place)
    again = begun(study, tmp_path / "s.db", space, f"{place}::cnn-search")
    assert again == [
        "from here/other: nothing new",
        "0 candidates of theirs queued",
    ]
    assert len(study.trials) == BEST
    (tmp_path / "here").rename(tmp_path / "there")
    place = str(tmp_path / "there" / "other.db")
    assert "nothing new" in begun(study, tmp_path / "s.db", space, place)[0]
    more = create_study(place, "cnn-search")
    best = more.ask()
    space.suggest(best)
    more.tell(best, 0.99)
    assert begun(study, tmp_path / "s.db", space, place)[-1] == "1 candidate of theirs queued"
    assert len(known_to(study, space)) == 13


def test_what_the_space_cannot_express_is_said(tmp_path: Path) -> None:
    wide = FIRST.replace("4, 16", "4, 40").replace('"GELU"]', '"GELU", "SiLU"]')
    wide += '    trial.suggest_int("gone", 0, 1)\n'
    searched(tmp_path / "other.db", space_of(tmp_path, wide), 30)
    space = space_of(tmp_path, FIRST + '    trial.suggest_int("new", 2, 5)\n')
    study = empty(tmp_path / "s.db")
    lines = "\n".join(begun(study, tmp_path / "s.db", space, str(tmp_path / "other.db")))
    assert "width is outside the range (from 4 to 16) in" in lines
    assert "activation is outside the range (one of ReLU, GELU) in" in lines
    assert "gone is not a parameter of this space" in lines
    assert "new is new to them: it counts as 2" in lines
    for trial in study.trials:
        assert trial.state == TrialState.WAITING
    known = known_to(study, space)
    assert 0 < len(known) < 30
    assert all(trial.params["activation"] in ("ReLU", "GELU") for trial in known)
    assert all(4 <= trial.params["width"] <= 16 for trial in known)


def test_several_studies_take_turns(tmp_path: Path) -> None:
    space = space_of(tmp_path)
    for name in "ab":
        searched(tmp_path / f"{name}.db", space, 30 if name == "a" else 3)
    study = empty(tmp_path / "s.db")
    places = [str(tmp_path / f"{name}.db") for name in "ab"]
    begun(study, tmp_path / "s.db", space, *places)
    labels = [attributes.LABEL.of(trial) or "" for trial in study.trials]
    assert sum("/a, " in label for label in labels) >= BEST - 3
    there = StoredStudy(known_of("cnn-search"), study.storage).trials
    assert len(there) == 33


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ("none.db", "there is no study at"),
        ("s.db", "names the storage of the search itself"),
        ("s.db::cnn-search", "/s is the study itself"),
        ("link.db::cnn-search", "/s is the study itself"),
        ("sub/../s.db", "names the storage of the search itself"),
        ("two.db", "is not a study of this tool"),
        ("s.db::other", "has no study 'other'"),
        ("foreign.db", "is not a study of this tool"),
        ("fresh.db", "has no complete trial"),
        ("text.db", "not an SQLite database"),
    ],
)
def test_what_cannot_be_learned_from_is_one_line(tmp_path: Path, named: str, message: str) -> None:
    empty(tmp_path / "fresh.db")
    searched(tmp_path / "s.db", space_of(tmp_path), 3)
    foreign = optuna.create_study(storage=f"sqlite:///{tmp_path}/foreign.db", direction="maximize")
    foreign.tell(foreign.ask(), 0.5)
    two = f"sqlite:///{tmp_path}/two.db"
    optuna.create_study(storage=two, directions=["maximize", "minimize"])
    (tmp_path / "link.db").symlink_to("s.db")
    (tmp_path / "sub").mkdir()
    (tmp_path / "text.db").write_text("no database " * 100)
    with pytest.raises(UserError, match=message):
        read_source(str(tmp_path / named), storage=str(tmp_path / "s.db"), name="cnn-search")


def test_what_is_over_a_limit_is_not_queued(tmp_path: Path) -> None:
    searched(tmp_path / "other.db", space_of(tmp_path), 20)
    space = space_of(tmp_path, max_params=250)  # 17 * width + 10 * width + 10
    study = empty(tmp_path / "s.db")
    begun(study, tmp_path / "s.db", space, str(tmp_path / "other.db"))
    widths = [attributes.DRAWN.of(trial)["width"] for trial in study.trials]
    assert len(widths) > 0
    assert max(widths) <= 8


def test_known_candidates_over_the_limit_are_known_to_be_so(tmp_path: Path) -> None:
    searched(tmp_path / "other.db", space_of(tmp_path), 20)
    small = space_of(tmp_path, max_params=200)
    study = empty(tmp_path / "s.db")
    begun(study, tmp_path / "s.db", small, str(tmp_path / "other.db"))
    known = known_to(study, small)
    over = [max(trial.constraints.values()) > 0 for trial in known]
    assert 0 < sum(over) < len(known) == 20
    for trial, is_over in zip(known, over, strict=True):
        candidate = small.refit(trial.params).candidate
        assert candidate is not None
        assert (small.costs(candidate).parameters > 200) == is_over
