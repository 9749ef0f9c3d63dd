"""The one exception for what a user can cause and mend."""

from __future__ import annotations

from search.engine.text import one_line


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
