"""What is printed: it neither ends the work nor lets names from outside into the terminal.

Two kinds of text reach a terminal, and both pass here: lines, by ``say`` or by anything else that
writes to ``sys.stdout`` and ``sys.stderr``; and what Rich draws, by ``Terminal``.
"""

from __future__ import annotations

import codecs
import contextlib
import io
import os
import sys
from typing import TextIO

from search.common.text import clean

LAYOUT = "\n\t"  # the control characters of plain text


class Output(io.TextIOBase):
    """A standard stream whose failures end nothing: what cannot be written is dropped.

    A pipe that nobody reads any more, a full disk, a terminal that hung up: a search goes on, and
    its study and leaderboard are what matters. Letters that the encoding lacks are escaped. Nothing
    is kept back beyond a line, so that nothing can fail when Python ends.

    Args:
        descriptor: The file to write to.
        encoding: Of what is written.
        styled: Text that Rich has cleaned and coloured; any other text is cleaned here.
    """

    def __init__(self, descriptor: int, encoding: str, *, styled: bool = False) -> None:
        super().__init__()
        self._descriptor = descriptor
        self._encoding = encoding
        self._encoder = codecs.getincrementalencoder(encoding)("backslashreplace")
        self._styled = styled
        self._line = ""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        """Of what is written."""
        return self._encoding

    def writable(self) -> bool:
        """Always."""
        return True

    def isatty(self) -> bool:
        """Whether a person looks on."""
        return os.isatty(self._descriptor)

    def fileno(self) -> int:
        """Of the file."""
        return self._descriptor

    def write(self, text: str, /) -> int:
        """Write whole lines, and keep the rest until it is one or is flushed."""
        self._line += text if self._styled else clean(text, keep=LAYOUT)
        if "\n" in text:
            self.flush()
        return len(text)

    def flush(self) -> None:
        """Write what is left."""
        rest, self._line = self._encoder.encode(self._line), ""
        with contextlib.suppress(OSError):
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]

    def styled(self) -> Output:
        """The same stream for what Rich draws."""
        other = Output(self._descriptor, self._encoding, styled=True)
        other._encoder = self._encoder  # an encoding's opening mark is written once
        return other


def protect() -> None:
    """Let no failure of the standard streams end this process; for its main function, once.

    A stream that was closed before the start is replaced by one to nowhere: its number would else
    be given to the next file that is opened, and what a library writes there would end up in it.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            nowhere = os.open(os.devnull, os.O_RDWR)  # the lowest free number: this one
            os.set_inheritable(nowhere, True)
    sys.stdout = _protected(sys.stdout, 1)
    sys.stderr = _protected(sys.stderr, 2)


def _protected(stream: TextIO | None, descriptor: int) -> Output:
    return Output(descriptor, (stream and stream.encoding) or "utf-8")


def say(line: str = "") -> None:
    """Print a line: one, whatever names are in it."""
    print(clean(line, keep="\t"), flush=True)


def complain(line: str) -> None:
    """Print a line to the error stream, where it does not mix with a command's results."""
    print(clean(line, keep="\t"), file=sys.stderr, flush=True)
