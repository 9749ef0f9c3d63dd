"""What the commands share: one-line errors, exit codes, argument types."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import NoReturn

from search.engine.errors import UserError

USAGE_ERROR = 2


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line that says what to do."""

    def error(self, message: str) -> NoReturn:
        """Print the error and end with exit code 2."""
        self.exit(USAGE_ERROR, f"error: {message}. See python search/{self.prog} --help.\n")


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the description's command lines and shows every default."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        hidden = any(action.default is value for value in (None, False, argparse.SUPPRESS))
        return text if hidden or "default" in text else f"{text} (default: %(default)s)"


def positive(text: str) -> int:
    """An argument type: a whole number from 1 on, also written 20_000 or 20,000."""
    try:
        value = int(text.replace(",", ""))
    except ValueError:
        value = 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"a whole number from 1 on is needed, but got {text!r}")
    return value


def natural(text: str) -> int:
    """An argument type: a whole number from 0 on."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"a whole number from 0 on is needed, but got {text!r}")
    return int(text)


def percentage(text: str) -> float:
    """An argument type: a percentage, as a share in [0, 1]; 0.994 is meant as 99.4 and refused."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and 1 < value <= 100):
        raise argparse.ArgumentTypeError(
            f"a percentage above 1 and up to 100 is needed, as 99.4, but got {text!r}"
        )
    return float(value / 100)


def worker_count(text: str) -> int | None:
    """An argument type: a whole number from 1 on, or ``auto`` as None."""
    return None if text == "auto" else positive(text)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """The option of how many processes train."""
    parser.add_argument(
        "--workers",
        type=worker_count,
        default="auto",
        metavar="N|auto",
        help="processes that train side by side; auto: one per core, or 3 per GPU",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """The options of where and in what precision to train."""
    add = parser.add_argument
    add("--device", default="auto", metavar="DEVICE", help="auto, cpu, cuda or cuda:N")
    add(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="of training; auto: bfloat16 where the hardware computes in it",
    )


def check_directory(directory: Path, option: str) -> None:
    """Refuse a directory that cannot be written to, before time is spent on what belongs there.

    Args:
        directory: Need not exist yet.
        option: The one that names it.

    Raises:
        UserError: If it is a file or not writable.
    """
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"nothing can be written to {directory}", f"Name a directory with {option}")


def run_command(main: Callable[[], int]) -> NoReturn:
    """Run a command and end the process with its exit code; a user's error is one line."""
    try:
        code = main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        code = USAGE_ERROR
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:  # the reader of our output, head for instance, has gone
        sys.stderr.close()
        code = 1
    sys.exit(code)
