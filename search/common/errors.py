"""The one exception for what a user can cause and mend."""

from __future__ import annotations

import traceback

from search.common.text import one_line

LONGEST_TRACEBACK = 8_000  # characters, the last ones
LONGEST_LINE = 200  # characters of an error of a library


class UserError(Exception):
    """Something that a user can mend: printed as one line, exit code 2, no traceback.

    Args:
        message: What is wrong, with the value that was given.
        hint: What to do about it.
    """

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Both parts on one line."""
        return one_line(f"{self.message.rstrip('. ')}. {self.hint.rstrip('. ')}.")


class TrainingError(Exception):
    """A candidate that cannot be trained, for instance because its loss is not finite."""


class InterruptedTraining(Exception):
    """Training was asked to stop before its last epoch."""


def reason_of(error: Exception) -> str:
    """Why a trial failed, from the error of its candidate."""
    return f"failed: {str(error) or type(error).__name__}"


def root_of(error: BaseException) -> str:
    """What an error came from, in a line: libraries wrap theirs in pages of advice."""
    while error.__cause__ is not None:
        error = error.__cause__
    text = next(iter(str(error).strip().splitlines()), "")
    return one_line(text)[:LONGEST_LINE] or type(error).__name__


def traceback_of(error: Exception) -> str:
    """An error's traceback as it is kept in a trial."""
    return "".join(traceback.format_exception(error))[-LONGEST_TRACEBACK:]
