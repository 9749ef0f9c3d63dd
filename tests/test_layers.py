"""The imports run one way: engine, study, space, objective, workers, commands."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("search", "space", "objective")


def imports(path: Path) -> set[str]:
    """The project's modules that a file imports, also inside functions."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {name for name in found if name.split(".")[0] in PACKAGES}


def offenders(files: list[Path], *allowed: str) -> list[str]:
    def within(name: str) -> bool:
        return name == "search" or any(
            name == prefix or name.startswith(prefix + ".") for prefix in allowed
        )

    assert files
    return [
        f"{file.relative_to(ROOT)}: {name}"
        for file in files
        for name in imports(file)
        if not within(name)
    ]


# From low to high: a room imports from itself and from those before it.
ORDER = (
    "search/common",
    "search/data",
    "search/layers",
    "search/training",
    "search/candidates",
    "search/architecture",
    "space.py",
    "search/study",
    "objective.py",
    "search/reporting",
    "search/console",
    "search/workers",
    "search/finals",
    "search/exporting",
)


def test_the_imports_run_one_way() -> None:
    for at, room in enumerate(ORDER):
        known = [name.removesuffix(".py").replace("/", ".") for name in ORDER[: at + 1]]
        path = ROOT / room
        files = [*path.rglob("*.py")] if path.is_dir() else [path]
        assert offenders(files, *known) == [], room


def test_every_folder_of_the_program_has_its_place() -> None:
    rooms = {path.parent for path in (ROOT / "search").rglob("*.py")} - {ROOT / "search"}
    known = [ROOT / name for name in ORDER]
    assert all(any(room.is_relative_to(name) for name in known) for room in rooms)


def test_no_folder_holds_more_than_a_dozen_files() -> None:
    for top in ("search", "tests", "benchmarks", "docs"):
        folders = {path.parent for path in (ROOT / top).rglob("*.py")}
        for folder in folders:
            files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
            assert len(files) <= 12, f"{folder.relative_to(ROOT)}: {len(files)}"


def test_what_runs_in_a_worker_opens_no_study() -> None:
    """It knows tasks, and how its process is named."""
    files = [ROOT / f"search/workers/{name}.py" for name in ("worker", "training", "local")]
    files.append(ROOT / "search/workers/ray/actor.py")
    below = ("search.common", "search.data", "search.training", "search.workers", "objective")
    assert offenders(files, *below, "search.study.judge", "search.study.weights") == []


def test_reporting_reads_and_never_trains() -> None:
    files = [*(ROOT / "search/reporting").rglob("*.py")]
    known = ("search.common", "search.data.problem", "search.architecture", "search.reporting")
    read = ("search.study", "search.training.recipe", "search.candidates.costs")
    assert offenders(files, *known, *read) == []


def test_searching_needs_nothing_of_what_exports() -> None:
    files = [*(ROOT / "search").rglob("*.py"), ROOT / "space.py", ROOT / "objective.py"]
    users = {
        file.relative_to(ROOT).as_posix()
        for file in files
        if any(name.startswith("search.exporting") for name in imports(file))
    }
    assert all(user.startswith(("search/export.py", "search/exporting/")) for user in users), users


def test_the_test_images_are_opened_by_the_finalists_alone() -> None:
    openers = {
        file.name
        for file in [*(ROOT / "search").rglob("*.py"), ROOT / "space.py", ROOT / "objective.py"]
        if "search.data.testset" in imports(file)
    }
    assert openers <= {"studies.py", "final_objective.py"}


def test_the_part_test_is_asked_for_by_the_test_sets_door_alone() -> None:
    askers = set()
    for file in (ROOT / "search").rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                parts = [ast.unparse(argument) for argument in node.args]
                if node.func.attr in ("read", "shape") and "'test'" in parts:
                    askers.add(file.name)
    assert askers == {"testset.py"}


def test_ray_is_known_to_the_cluster_alone_which_imports_it_when_it_is_used() -> None:
    files = [*(ROOT / "search").rglob("*.py"), ROOT / "space.py", ROOT / "objective.py"]
    users = {file for file in files if ray_imports(ast.walk(ast.parse(file.read_text())))}
    assert {file.parent for file in users} == {ROOT / "search/workers/ray"}
    for file in users:
        assert not ray_imports(ast.parse(file.read_text()).body), "at the top, before it is needed"


def ray_imports(nodes: Iterable[ast.AST]) -> list[str]:
    """The modules of Ray among what some statements import."""
    found = []
    for node in nodes:
        if isinstance(node, ast.ImportFrom):
            found.append(node.module or "")
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return [name for name in found if name.split(".")[0] == "ray"]


def test_only_the_placement_knows_of_clusters() -> None:
    files = [*(ROOT / "search").rglob("*.py"), ROOT / "space.py", ROOT / "objective.py"]
    users = {
        file.relative_to(ROOT).as_posix()
        for file in files
        if any(name.startswith("search.workers.ray") for name in imports(file))
    }
    assert {user for user in users if not user.startswith("search/workers/ray/")} == {
        "search/workers/placement.py"
    }


def test_no_command_hides_a_module_of_the_standard_library() -> None:
    import sys

    names = {path.stem for path in (ROOT / "search").glob("*.py")} - {"__init__"}
    assert not names & set(sys.stdlib_module_names)


def test_user_attributes_are_named_in_their_table_alone() -> None:
    files = [*(ROOT / "search").rglob("*.py"), ROOT / "space.py", ROOT / "objective.py"]
    found: list[str] = []
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                called = node.func.attr
                if called == "get" and "user_attrs" not in ast.unparse(node.func.value):
                    continue
                if called in ("get", "set_user_attr"):
                    found += [
                        f"{file.name}: {argument.value!r}"
                        for argument in node.args[:1]
                        if isinstance(argument, ast.Constant)
                    ]
    assert found == []
