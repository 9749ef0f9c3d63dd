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


def test_the_engine_knows_nothing_of_studies_spaces_or_commands() -> None:
    assert offenders([*(ROOT / "search/engine").rglob("*.py")], "search.engine") == []


def test_studies_are_kept_without_a_word_of_who_trains() -> None:
    assert (
        offenders([*(ROOT / "search/study").rglob("*.py")], "search.engine", "search.study") == []
    )


def test_space_stands_on_the_engine() -> None:
    assert offenders([ROOT / "space.py"], "search.engine") == []


def test_objective_stands_on_both() -> None:
    known = ("search.engine", "search.study.judge", "search.study.recording", "space")
    assert offenders([ROOT / "search/candidates.py"], *known, "objective") == []
    more = ("search.study.owners", "search.candidates")
    assert offenders([ROOT / "objective.py"], *known, *more) == []


def test_workers_train_by_any_objective_and_know_no_command() -> None:
    allowed = ("search.engine", "search.study", "search.workers", "objective")
    shown = ("search.progress", "search.terminal", "search.reporting.records")
    assert offenders([*(ROOT / "search/workers").rglob("*.py")], *allowed, *shown) == []


def test_what_runs_in_a_worker_opens_no_study() -> None:
    """It knows tasks, and how its process is named."""
    files = [ROOT / f"search/workers/{name}.py" for name in ("worker", "training", "local")]
    files.append(ROOT / "search/workers/ray/actor.py")
    allowed = ("search.study.judge", "search.study.owners", "search.study.weights")
    assert offenders(files, "search.engine", "search.workers", "objective", *allowed) == []


def test_references_stand_on_the_space() -> None:
    assert offenders([ROOT / "search/reference_candidates.py"], "search.engine", "space") == []
    files = [ROOT / "search/references.py"]
    assert offenders(files, "space", "search.reference_candidates") == []


def test_reporting_reads_and_never_trains() -> None:
    files = [*(ROOT / "search/reporting").rglob("*.py")]
    allowed = (
        *("search.reporting", "search.references", "space", "search.study.stored"),
        *("search.engine.errors", "search.study.storage", "search.engine.recipe"),
        "search.engine.attributes",
        *("search.engine.companions", "search.engine.text", "search.engine.problem"),
    )
    assert offenders(files, *allowed) == []


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
        if "search.engine.testset" in imports(file)
    }
    assert openers <= {"finals.py", "final_objective.py"}


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
        "search/placement.py"
    }


def test_no_command_hides_a_module_of_the_standard_library() -> None:
    import sys

    names = {path.stem for path in (ROOT / "search").glob("*.py")} - {"__init__"}
    assert not names & set(sys.stdlib_module_names)
