"""Writes what optuna-dashboard shows beside a study, without loading the dashboard.

``import optuna_dashboard`` loads its server, and with that scikit-learn: two seconds and 116 MB of
every process. Its modules for notes and figures need Optuna alone, so they are loaded by
themselves; where another version has no such modules, the package is imported after all.
"""

from __future__ import annotations

import importlib
import importlib.util
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import optuna
    from plotly.graph_objects import Figure


def get_note(of: optuna.Study | optuna.Trial) -> str:
    """The note of a study or a trial, Markdown; empty if there is none."""
    return str(_module("_note").get_note(of))


def save_note(of: optuna.Study | optuna.Trial, body: str) -> None:
    """Put a note, Markdown, in the place of a study's or a trial's."""
    _module("_note").save_note(of, body)


def save_figure(study: optuna.Study, figure: Figure, name: str) -> None:
    """Show a figure on a study's page, in place of the one of that name.

    Raises:
        ValueError: If the name is not an identifier of HTML.
    """
    module = _module("_custom_plot_data")
    module.save_plotly_graph_object(study, figure, graph_object_id=name)


@cache
def _module(name: str) -> ModuleType:
    package = importlib.util.find_spec("optuna_dashboard")
    for folder in (package and package.submodule_search_locations) or ():
        file = Path(folder) / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"{__name__}{name}", file)
        if file.exists() and spec is not None and spec.loader is not None:
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
            return module
    return importlib.import_module("optuna_dashboard")
