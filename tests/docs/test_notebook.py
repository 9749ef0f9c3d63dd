"""The notebook runs from its first cell to its last."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

pytestmark = [pytest.mark.network, pytest.mark.processes]

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docs" / "notebook.ipynb"


def test_the_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(FILE, as_version=4)  # type: ignore[no-untyped-call]
    first = notebook.cells[1]
    first.source = first.source.replace('"notebook"', repr(str(tmp_path / "notebook")))
    for cell in notebook.cells:  # nothing is left in the project
        cell.source = cell.source.replace("notebook/", f"{tmp_path}/notebook/")
        cell.source = cell.source.replace("--reports notebook", f"--reports {tmp_path}/notebook")
    client = NotebookClient(notebook, timeout=300, kernel_name="python3")
    client.execute(cwd=str(FILE.parent))
    outputs = {
        cell.id: "".join(
            str(output.get("text", "")) + "".join(map(str, output.get("data", {}).values()))
            for output in cell.get("outputs", [])
        )
        for cell in notebook.cells
    }
    said = "\n".join(outputs.values())
    assert "3 of 3 trials: 3 complete" in said
    assert "validation_accuracy" in said
    assert "is taken for a" in said
    kinds = [
        kind
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        for kind in output.get("data", {})
    ]
    assert kinds.count("application/vnd.plotly.v1+json") == 2
    assert "image/png" in kinds
    assert (tmp_path / "notebook" / "winner" / "model.py").is_file()
