"""Command lines that a person can copy, complete and quoted for a shell."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from search.common import passwords

FOLDER = Path(__file__).resolve().parents[1]  # of the commands


def command_line(script: str, **options: Any) -> str:
    """How to call one of this project's commands, from where the running one was called.

    A password in a storage's URL is left out, and the line says so.

    Args:
        script: The command's file, ``run.py``.
        options: By their names with ``_`` for ``-``. None leaves an option out, True and False
            are those of a switch, a list holds several values.
    """
    running = Path(sys.argv[0])
    words = ["python", f"search/{script}"]
    if running.suffix == ".py" and _is_ours(running.parent):
        words[0] = sys.orig_argv[0]
        if not _is_ours(Path("search")):
            words[1] = str(running.with_name(script))
    hidden = False
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if isinstance(value, bool):
            words.append(option if value else option.replace("--", "--no-", 1))
        elif isinstance(value, list):
            shown = [passwords.masked(str(item)) for item in value]
            hidden = hidden or shown != list(map(str, value))
            words += [option, *shown]
        elif value is not None:
            text = str(value)
            if name == "storage" and passwords.has_password(text):
                text, hidden = passwords.shown(text), True
            words += [f"{option}={text}"] if text.startswith("-") else [option, text]
    line = shell_line(words)
    return f"{line} (with the password for ***)" if hidden else line


def _is_ours(folder: Path) -> bool:
    return folder.is_dir() and folder.samefile(FOLDER)


def shell_line(words: Sequence[str]) -> str:
    """Words as a line for a shell."""
    return " ".join(map(_quoted, words))


def _quoted(word: str) -> str:
    """A word for a shell; what is not printable by its bytes, as bash, zsh and ksh read them."""
    if word.isprintable():
        return shlex.quote(word)
    escaped = word.replace("\\", r"\\").replace("'", r"\'")
    return f"$'{''.join(c if c.isprintable() else _bytes(c) for c in escaped)}'"


def _bytes(letter: str) -> str:
    return "".join(rf"\x{byte:02x}" for byte in os.fsencode(letter))
