"""The directory that a network is exported to: a new one, or that of an earlier export."""

from __future__ import annotations

import json
from pathlib import Path

from search.common.errors import UserError

FIGURES = "figures.json"  # by which an earlier export is known
FILES = (
    *(FIGURES, "README.md", "candidate.json", "model.py", "weights.safetensors"),
    *("model.pt2", "model.onnx", "model_int8.onnx"),
)
MICRO = "micro"  # the folder in it for a microcontroller
MICRO_FILES = (
    *("model_float32.tflite", "model_int8.tflite", "model_int8_data.c"),
    *("model_float32.c", "model_float32.h", "model_int8.c", "model_int8.h"),
    *("main.c", "Makefile", "images.bin", "labels_float32.txt", "labels_int8.txt"),
)
ALL = (*FILES, *(f"{MICRO}/{name}" for name in MICRO_FILES))  # that an export may write


def check_folder(output: Path) -> None:
    """Refuse a directory that holds files, unless an earlier export wrote it.

    An earlier export's files may then be replaced; others beside them are kept.

    Args:
        output: Need not be there.

    Raises:
        UserError: If so.
    """
    hint = "Name a new one with --output"
    try:
        there = {path.name: path for path in output.iterdir()} if output.exists() else {}
        unusual = [
            path
            for path in map(output.joinpath, ALL)
            if path.is_symlink() or (path.exists() and not path.is_file())
        ]
        inner = output / MICRO
        unusual += [inner] if inner.is_symlink() or inner.is_file() else []
        # What a killed export had not yet put into its place, as search.common.publishing names it.
        staged = {name for name in there if name.startswith(".") and name.endswith(".tmp")}
        if there.keys() - staged and not _is_export(output / FIGURES):
            raise UserError(f"the directory {output} holds files that no export wrote", hint)
    except OSError as error:
        raise UserError(f"{output} cannot be used: {error.strerror}", hint) from None
    for path in unusual:
        raise UserError(f"{path} is not what an export writes and would be replaced", hint)


def _is_export(figures: Path) -> bool:
    if figures.is_symlink() or not figures.is_file():
        return False
    try:
        found = json.loads(figures.read_bytes())
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() >= {"origin", "validation", "sizes"}


def written_before(output: Path) -> list[str]:
    """The files of a directory that an earlier export wrote, as it lists them itself."""
    try:
        listed = json.loads((output / FIGURES).read_bytes())["sizes"]["files"]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return []
    return [name for name in ALL if name in listed] if isinstance(listed, dict) else []
