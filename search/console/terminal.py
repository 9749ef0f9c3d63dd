"""What Rich draws: the live view of a search, and tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.table import Table

from search.common.output import LAYOUT, Output
from search.common.text import clean
from search.study.differences import Difference, in_words


class Terminal(Console):
    """Rich's console, which draws names from outside as they are and not as what they ask for.

    Args:
        stream: Where to; standard output or the error stream.
        options: Of Rich's console, for tests.
    """

    def __init__(self, stream: Any = None, **options: Any) -> None:
        to: Any = stream or sys.stdout
        to = to.styled() if isinstance(to, Output) else to
        super().__init__(file=to, markup=False, highlight=False, emoji=False, **options)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """As Rich's, with every text cleaned; control codes are Rich's own."""
        return self._cleaned(super().render(renderable, options))

    def _cleaned(self, segments: Iterable[Segment]) -> Iterator[Segment]:
        for text, style, control in segments:
            yield Segment(text if control else clean(text, keep=LAYOUT), style, control)


def print_differences(differing: list[Difference], effects: Sequence[str]) -> None:
    """The settings that differ, as a small table on the error stream, and what that does."""
    table = Table("setting", "the study's", "now", box=None, padding=(0, 2, 0, 0))
    for name, before, after in differing:
        table.add_row(name, in_words(before), in_words(after))
    terminal = Terminal(sys.stderr)
    terminal.print(table, soft_wrap=True)
    for line in effects:
        terminal.print(line, soft_wrap=True)
