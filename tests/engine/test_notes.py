"""Notes and figures as optuna-dashboard itself writes and reads them."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import optuna
import optuna_dashboard
import plotly.graph_objects as go
import pytest

from search.engine import notes

ROOT = Path(__file__).parents[2]
LONG = "a note, **longer** than one attribute holds\n" * 100


def test_the_dashboard_reads_what_was_written_here() -> None:
    study = optuna.create_study()
    trial = study.ask()
    for body in (LONG, "short"):
        for of in (study, trial):
            notes.save_note(of, body)
            assert optuna_dashboard.get_note(of) == body == notes.get_note(of)


def test_what_someone_wrote_in_the_dashboard_is_read_here() -> None:
    study = optuna.create_study()
    assert notes.get_note(study) == ""
    optuna_dashboard.save_note(study, LONG)
    assert notes.get_note(study) == LONG


def test_figures_are_those_of_the_dashboard() -> None:
    ours, theirs = optuna.create_study(), optuna.create_study()
    figure = go.Figure(go.Scatter(x=[1, 2], y=[3, 4]))
    notes.save_figure(ours, figure, "front")
    optuna_dashboard.save_plotly_graph_object(theirs, figure, graph_object_id="front")
    kept, expected = ours._storage, theirs._storage
    attributes = kept.get_study_system_attrs(ours._study_id)
    assert attributes == expected.get_study_system_attrs(theirs._study_id) != {}


def test_another_version_without_those_modules_is_imported(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    notes._module.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    try:
        assert notes._module("_note") is optuna_dashboard
        notes.save_note(study := optuna.create_study(), "whole")
        assert optuna_dashboard.get_note(study) == "whole"
    finally:
        notes._module.cache_clear()


def test_writing_a_note_loads_no_server() -> None:
    program = (
        "import optuna, sys; from search.engine.notes import save_note\n"
        "save_note(optuna.create_study(), 'here')\n"
        "print([name for name in ('optuna_dashboard', 'sklearn', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout == "[]\n", done.stderr
