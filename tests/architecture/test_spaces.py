"""A space's file: its text is what runs, and what is wrong with it is said with file and line."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from optuna.trial import FixedTrial

from search.architecture.limits import Limits
from search.architecture.spaces import ROOT, Space, read_space
from search.common.errors import UserError
from search.data.problem import MNIST_PROBLEM

HEAD = """\
from torch import nn
from search.candidates.candidate import Candidate
from search.training.recipe import Recipe
"""
PLAIN = (
    HEAD
    + """
def suggest(trial, problem, limits):
    width = trial.suggest_int("width", 1, 9)
    def build():
        return nn.Sequential(nn.Conv2d(1, width, 28), nn.Flatten(), nn.Linear(width, 10))
    return Candidate(build=build, name=f"width {width}")
"""
)
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(source: str, name: str = "mine.py") -> Path:
        (tmp_path / name).write_text(source)
        return tmp_path / name

    return write


def space(file: Path) -> Space:
    return Space(file=read_space(file), problem=MNIST_PROBLEM, limits=Limits())


def trial() -> optuna.Trial:
    return optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0)).ask()


def test_a_candidate_is_written_as_its_parameters_and_comes_back_from_them(write: Write) -> None:
    mine, drawn = space(write(PLAIN)), trial()
    candidate = mine.suggest(drawn)
    text = mine.write(candidate, drawn.params)
    assert json.loads(text)["params"] == drawn.params
    assert mine.read(text).name == candidate.name
    width = drawn.params["width"]
    assert mine.costs(mine.read(text)).parameters == width * 28**2 + width + 10 * width + 10


def test_a_to_json_of_ones_own_is_left_alone(write: Write) -> None:
    source = HEAD + (
        "class Mine(Candidate):\n    def to_json(self):\n        return 'mine'\n"
        "def suggest(trial, problem, limits):\n    trial.suggest_int('x', 1, 3)\n"
        "    return Mine(build=nn.Flatten, name='mine')\n"
    )
    mine, drawn = space(write(source)), trial()
    assert mine.read(mine.write(mine.suggest(drawn), drawn.params)).name == "mine"


def test_layers_for_images_of_another_shape_are_refused(write: Write) -> None:
    source = (
        "from search.architecture.candidate import LayeredCandidate\n"
        "from search.architecture.layers import Conv\n"
        "def suggest(trial, problem, limits):\n"
        "    return LayeredCandidate(layers=(Conv(width=2),), input_shape=(3, 32, 32))\n"
    )
    mine = space(write(source))
    with pytest.raises(UserError, match=r"for images of \[3, 32, 32\], but MNIST has"):
        mine.costs(mine.suggest(trial()))


def test_what_was_drawn_from_another_text_is_refused(write: Write) -> None:
    text = space(write(PLAIN)).write(space(write(PLAIN)).suggest(trial()), {"width": 3})
    changed = space(write(PLAIN + "# mine\n"))
    with pytest.raises(UserError, match="mine.py") as raised:
        changed.read(text)
    assert "--space" in str(raised.value)


def test_modules_beside_it_belong_to_its_digest(
    write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that it imports, also by way of others; not what else lies there."""
    source = PLAIN.replace("28)", "beside_a.KERNEL)").replace(HEAD, HEAD + "import beside_a\n")
    write("from beside_b import KERNEL\n", "beside_a.py")
    write("KERNEL = 28\n", "beside_b.py")
    first = read_space(write(source)).digest
    assert read_space(write(source)).digest == first, "read again in the same process"
    write("unused = 1\n", "beside_c.py")
    assert read_space(write(source)).digest == first
    write("KERNEL = 28  # another text\n", "beside_b.py")
    assert read_space(write(source)).digest != first
    for name in ("beside_a", "beside_b"):
        monkeypatch.delitem(sys.modules, name)


def test_a_space_that_ends_the_process_is_an_error_of_it(write: Write) -> None:
    with pytest.raises(UserError, match="mine.py:2: SystemExit"):
        read_space(write("import sys\nsys.exit(3)\n"))


def test_editing_the_file_changes_nothing_for_who_has_read_it(write: Write) -> None:
    mine = space(write(PLAIN))
    write(PLAIN.replace("1, 9", "5, 5"))
    assert mine.suggest(FixedTrial({"width": 1})).name == "width 1"


def test_dataclasses_and_classes_of_the_file_work(write: Write) -> None:
    source = HEAD + (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass(frozen=True)\nclass Mine:\n    recipe: Recipe = Recipe()\n"
        "    name: str = 'mine'\n    def build(self):\n"
        "        return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))\n"
        "def suggest(trial, problem, limits):\n    return Mine()\n"
    )
    source = "from __future__ import annotations\n" + source.replace(
        "from __future__ import annotations\n", ""
    )
    mine = space(write(source))
    assert mine.costs(mine.suggest(trial())).parameters == 7_850


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("x = (", "mine.py:1: SyntaxError"),
        ("import math\nimport no_such_module_here\n", "mine.py:2: ModuleNotFoundError"),
        ("\n\nx = 1 / 0\n", "mine.py:3: ZeroDivisionError"),
        ("x = 1\n", "has no function suggest"),
        ("suggest = 3\n", "has no function suggest"),
    ],
)
def test_a_file_that_is_no_space_is_refused(write: Write, source: str, said: str) -> None:
    with pytest.raises(UserError, match=said.replace("(", r"\(")) as raised:
        read_space(write(source))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("kind", ["missing", "folder", "bytes", "large"])
def test_what_is_no_text_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "mine.py"
    if kind == "folder":
        path.mkdir()
    elif kind == "bytes":
        path.write_bytes(b"\xff\xfe\x00")
    elif kind == "large":
        path.write_text("#" * 1_000_001)
    with pytest.raises(UserError, match="mine.py") as raised:
        read_space(path)
    assert "suggest(trial, problem, limits)" in str(raised.value)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("    raise KeyError('x')", "mine.py:5: KeyError: 'x'"),
        ("    return 3", "mine.py:4: suggest returned 3, which has no build"),
        ("    pass", "mine.py:4: suggest returned None, which has no build"),
        ("    return nn.Linear(1, 1)", "mine.py:4: suggest returned Linear"),
        (
            "    return Candidate(build=nn.Linear(1, 1), name=3)",
            "mine.py:4: a candidate's name must be a text, but got 3",
        ),
        ("    return Candidate(build=None, name='')", "build must be a function, but got None"),
        (
            "    return Candidate(build=nn.ReLU, name='', recipe={})",
            "recipe must be a Recipe, but got {}",
        ),
        ("    return Candidate(build=nn.ReLU, name='', rate=1)", "mine.py:5: TypeError"),
        (
            "    return Candidate(build=nn.ReLU, name='', recipe=Recipe(learning_rate=-1))",
            r"mine.py:5: ValueError: learning_rate must lie in",
        ),
        ("    trial.suggest_int('x', 5, 1)", "mine.py:5: ValueError"),
    ],
)
def test_a_suggestion_that_is_no_candidate_is_said_with_its_line(
    write: Write, body: str, said: str
) -> None:
    mine = space(write(f"{HEAD}def suggest(trial, problem, limits):\n{body}\n"))
    with pytest.raises(UserError) as raised:
        mine.suggest(trial())
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("network", "said"),
    [
        ("nn.Sequential(nn.Flatten(), nn.Linear(784, 7))", ":5: the network must give"),
        ("nn.Conv2d(1, 10, 3)", ":5: the network must give"),
        ("nn.Flatten()", ":5: the network must give a tensor [N, 10] for N images, but got"),
        ("nn.GRU(28, 10)", ":5: ValueError: GRU: Expected input"),
        ("nn.Sequential(nn.Flatten(), nn.Linear(9, 10))", ":5: RuntimeError: mat1 and mat2"),
        ("nn.Linear(-1, 2)", ":6: RuntimeError: Trying to create tensor with negative dim"),
        ("3", ":5: build() must return an nn.Module, but returned 3"),
        ("Mine()", ":10: ValueError: mine"),
    ],
)
def test_a_network_that_does_not_fit_is_said_with_its_line(
    write: Write, network: str, said: str
) -> None:
    """The line is the innermost of the file that was at work, else where ``build`` begins."""
    source = HEAD + (
        "def suggest(trial, problem, limits):\n    def build():\n"
        f"        return {network}\n    return Candidate(build=build, name='mine')\n"
        "class Mine(nn.Module):\n    def forward(self, x):\n        raise ValueError('mine')\n"
    )
    mine = space(write(source))
    with pytest.raises(UserError) as raised:
        mine.costs(mine.suggest(trial()))
    assert f"mine.py{said}" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_space_may_prune_by_itself(write: Write) -> None:
    source = HEAD + (
        "import optuna\ndef suggest(trial, problem, limits):\n    raise optuna.TrialPruned()\n"
    )
    with pytest.raises(optuna.TrialPruned):
        space(write(source)).suggest(trial())


def test_the_default_space_is_named_from_the_programs_folder() -> None:
    assert read_space().name == "space.py"
    assert read_space(ROOT / "examples" / "residual.py").name == "examples/residual.py"
