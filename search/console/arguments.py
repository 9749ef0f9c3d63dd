"""What the commands share: one-line errors, exit codes, argument types."""

from __future__ import annotations

import argparse
import difflib
import math
import os
import re
import reprlib
import signal
import sys
from collections.abc import Callable, Sequence
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, NoReturn

from search.common.command_lines import command_line
from search.common.errors import UserError
from search.common.interrupts import end_if_interrupted
from search.common.output import complain, protect
from search.common.passwords import masked
from search.common.text import one_line
from search.data.names import KNOWN
from search.data.problem import ImageSize
from search.study.storages.location import sqlite_file
from search.study.storages.naming import storage_of
from search.study.storages.opening import DEFAULT_STORAGE

USAGE_ERROR = 2
LARGEST = 2**63 - 1  # the largest number that databases and PyTorch hold
LONGEST = 40  # digits, so that a number of any length is quickly refused
NUMBER = re.compile("[0-9]+|[0-9]{1,3}(_[0-9]{3})+|[0-9]{1,3}(,[0-9]{3})+")
MOST_HOURS = 10_000
MOST_WORKERS_HERE = 256
LARGEST_SIDE = 4_096  # pixels
MOST_WORKERS = 4_096  # on a cluster


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line that says what to do; options in full."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{"allow_abbrev": False, **kwargs})

    def parse_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: None = None
    ) -> argparse.Namespace:
        """As ``argparse``'s; an option that there is not is said first, with what is like it."""
        known = {"--help", *re.findall("--[a-z][a-z-]*", self.format_usage())}
        for given in sys.argv[1:] if args is None else args:
            name = given.partition("=")[0]
            if given == "--":
                break
            if re.fullmatch("--[a-z][a-z-]*", name) and name not in known:
                like = difflib.get_close_matches(name, known, n=1)
                meant = f" (did you mean {like[0]}?)" if like else ""
                self.error(f"there is no option {name}{meant}")
        return super().parse_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Print the error and end with exit code 2."""
        more = f"Run {command_line(self.prog)} --help for more."
        self.exit(USAGE_ERROR, one_line(f"error: {masked(message)}. {more}") + "\n")


def changed(given: argparse.Namespace, defaults: argparse.Namespace) -> dict[str, Any]:
    """The options that were given otherwise than by default, for ``command_line``."""
    return {name: value for name, value in vars(given).items() if value != getattr(defaults, name)}


class HelpFormatter(argparse.RawDescriptionHelpFormatter):
    """Keeps the description's command lines and shows every default."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        text = action.help or ""
        hidden = any(action.default is value for value in (None, False, argparse.SUPPRESS))
        return text if hidden or "default" in text else f"{text} (default: %(default)s)"


def path_name(text: str) -> Path:
    """An argument type: a path; the empty one, of a shell's unset variable, is none."""
    if not text:
        raise argparse.ArgumentTypeError("a path is needed, but got ''")
    return Path(text)


def data_name(text: str) -> str:
    """An argument type: a data set's name or a path; which of them is told later."""
    path_name(text)
    return text


def image_size(text: str) -> ImageSize:
    """An argument type: pixels of a square's side, or height x width."""
    numbers = [whole(1, LARGEST_SIDE)(part) for part in re.split("[x×]", text, maxsplit=1)]
    return ImageSize(numbers[0] or 0, numbers[-1] or 0)


def storage_name(text: str) -> str:
    """An argument type: the path of an SQLite file, or the URL of a database server."""
    try:
        sqlite_file(text)
    except UserError as error:
        raise argparse.ArgumentTypeError(str(error).rstrip(".")) from None
    return text


def study_name(text: str) -> str:
    """An argument type: a storage, with ``::`` and a study's name where it holds several."""
    storage_name(storage_of(text)[0])
    return text


def some_name(text: str) -> str:
    """An argument type: a study's name within its storage."""
    if not text.strip():
        raise argparse.ArgumentTypeError(f"a name is needed, but got {text!r}")
    return text


def whole(low: int, high: int, *, or_auto: bool = False) -> Callable[[str], int | None]:
    """An argument type: a whole number, also written 20_000 or 20,000.

    Args:
        low: The smallest that is allowed.
        high: The largest that is allowed.
        or_auto: Also take ``auto``, and give None for it.
    """

    def read(text: str) -> int | None:
        if or_auto and text == "auto":
            return None
        digits = re.sub("[_,]", "", text) if NUMBER.fullmatch(text) else ""
        value = int(digits) if 0 < len(digits) <= LONGEST else -1
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(
                f"a whole number from {low} to {high:,}{' or auto' if or_auto else ''} is needed, "
                f"but got {reprlib.repr(text)}"
            )
        return value

    return read


trial_count = whole(1, 1_000_000)  # argument types that several options share
seed_count = whole(1, 1_000)
natural = whole(0, LARGEST)
positive = whole(1, LARGEST)


def percentage(text: str) -> Decimal:
    """An argument type: a percentage; 0.994 is meant as 99.4 and refused."""
    try:
        value = Decimal(text)
    except InvalidOperation:
        value = Decimal("NaN")
    if not (value.is_finite() and 1 < value <= 100):
        raise argparse.ArgumentTypeError(
            f"a percentage above 1 and up to 100 is needed, as 99.4, but got {reprlib.repr(text)}"
        )
    return value


def hours(text: str) -> float:
    """An argument type: hours, or a part of one."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value <= MOST_HOURS:
        raise argparse.ArgumentTypeError(
            f"hours above 0 and up to {MOST_HOURS:,} are needed, as 0.5, but got "
            f"{reprlib.repr(text)}"
        )
    return value


def add_storage(parser: argparse.ArgumentParser) -> None:
    """The option of where the study is."""
    parser.add_argument(
        "--storage",
        type=storage_name,
        default=DEFAULT_STORAGE,
        metavar="FILE|URL",
        help="SQLite file or database URL; default: study.db in the project's root",
    )


def add_workers(parser: argparse.ArgumentParser, most: int = MOST_WORKERS_HERE) -> None:
    """The option of how many processes train."""
    parser.add_argument(
        "--workers",
        type=whole(1, most, or_auto=True),
        default="auto",
        metavar="N|auto",
        help="processes that train side by side, at most one for each trial that is left; "
        "auto: one per core, or 3 per GPU",
    )


def add_stack(parser: argparse.ArgumentParser, on_gpu: int, more: str = "") -> None:
    """The option of how many seeds are one network; ``on_gpu`` is its default there."""
    parser.add_argument(
        "--stack",
        type=whole(1, 100),
        metavar="N",
        help=f"seeds of an architecture that a worker trains at once, as one network{more}; "
        f"default: {on_gpu} on a GPU, 1 on a CPU, where compiled kernels are faster",
    )


def add_device(parser: argparse.ArgumentParser) -> None:
    """The options of where and in what precision to train."""
    add = parser.add_argument
    add("--device", default="auto", metavar="DEVICE", help="auto, cpu, cuda or cuda:N")
    add(
        "--precision",
        choices=("auto", "float32", "bfloat16"),
        default="auto",
        help="precision of training; auto: bfloat16 where the hardware computes in it",
    )


def add_space(parser: argparse.ArgumentParser, *, of_study: bool = False) -> None:
    """The option of which networks are searched.

    Args:
        parser: Gets it.
        of_study: The study names its space; the option is for a file that has moved.
    """
    root = Path(__file__).resolve().parents[2]
    parser.add_argument(
        "--space",
        type=path_name,
        default=None if of_study else root / "space.py",
        metavar="FILE",
        help="the study's space file, if it has moved; default: where it was"
        if of_study
        else "Python file whose suggest(trial, problem, limits) draws the networks; default: "
        "space.py in the project's root",
    )


def add_data(parser: argparse.ArgumentParser) -> None:
    """The options of which images, and at what size."""
    add = parser.add_argument
    add(
        "--data",
        type=data_name,
        metavar="NAME|PATH",
        help=f"a set that torchvision fetches ({', '.join(KNOWN)}), a directory of class folders "
        "with images, of train/ and test/ with class folders or of IDX files, or an .npz file; "
        "./NAME is a path; default: mnist",
    )
    add(
        "--image-size",
        type=image_size,
        metavar="S|HxW",
        help="bring all images to S by S or H by W pixels; default: as they are, if all are alike",
    )


def check_directory(directory: Path, option: str) -> None:
    """Refuse a directory that cannot be written to, before time is spent on what belongs there.

    Args:
        directory: Need not exist yet.
        option: The one that names it.

    Raises:
        UserError: If it is a file or not writable.
    """
    try:
        existing = next(at for at in (directory, *directory.absolute().parents) if at.exists())
    except OSError:  # a name that is too long, for instance
        existing = directory
    if not os.path.isdir(existing) or not os.access(existing, os.W_OK | os.X_OK):
        raise UserError(f"nothing can be written to {directory}", f"Name a directory with {option}")


def run_command(main: Callable[[], int]) -> NoReturn:
    """Run a command and end the process with its exit code; a user's error is one line.

    What cannot be printed is dropped; Ctrl-C ends the command without a word.
    """
    protect()
    sys.unraisablehook = end_if_interrupted
    try:
        code = main()
    except UserError as error:
        complain(f"error: {error}")
        code = USAGE_ERROR
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    finally:  # nothing is left to be cleaned up
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(code)
