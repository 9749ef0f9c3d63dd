"""The commands on images that are not MNIST's, and with another space than ours."""

from __future__ import annotations

from pathlib import Path

import pytest

from search.architecture.candidate import LayeredCandidate
from search.architecture.layers import Conv, Head
from search.common.errors import UserError
from search.data.sources import locate
from search.finals.user_candidates import check_fit, read_all
from search.run import parse
from search.study.settings import Settings
from tests.helpers.commands import load, run

pytestmark = pytest.mark.processes


@pytest.mark.parametrize("text", ["nan", "inf", "99,4", "0.994", "0", "-1", "101", "x", ""])
def test_a_target_is_a_percentage(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse([f"--target={text}"])
    assert ended.value.code == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_target_is_kept_as_the_share_that_it_is() -> None:
    given = [parse(["--target", text]).target for text in ("99.4", "100")]
    assert [float(target / 100) for target in given] == [0.994, 1.0]
    assert list(map(str, given)) == ["99.4", "100"], "a hint says it as it was given"
    assert parse([]).target is None


def test_what_does_not_fit_the_data_is_refused(tmp_path: Path, data: Path) -> None:
    source = locate(data)
    misfit = tmp_path / "misfit.json"
    misfit.write_text(LayeredCandidate(layers=(Conv(width=2),), head=Head(classes=3)).to_json())
    for handed_in, said in (
        (read_all([], references=True), f"claims are for MNIST, not for {source.name}"),
        (read_all([misfit], references=False), f"3 outputs, but {source.name} has 10 classes"),
    ):
        with pytest.raises(UserError, match=said):
            check_fit(handed_in, Settings(source=source).space)


def test_a_target_is_remembered_and_small_networks_are_not_deskewed(
    command: list[str], tmp_path: Path
) -> None:
    small = ("--trials", "1", "--epochs", "1", "--workers", "1", "--max-params", "900")
    assert run(command, *small, "--target", "75").returncode == 0
    settings = load(tmp_path).user_attrs["settings"]
    assert (settings["target"], settings["dataset"]["classes"]) == (0.75, 10)
    assert "deskew" not in load(tmp_path).trials[0].user_attrs["architecture"]
    report = (tmp_path / "reports" / "leaderboard.md").read_text(encoding="utf-8")
    assert "≥ 75 %" in report and "99.4" not in report
    other = run(command, *small)
    assert other.returncode == 2
    assert "target" in other.stderr and "0.75" in other.stderr
