"""Text as a terminal may show it, and numbers with their nouns."""

from __future__ import annotations


def clean(text: str, *, keep: str = "") -> str:
    r"""Text with every letter that is not printable as its escape: ``a\x1b[2J``, ``two\nlines``.

    Names of files and studies, labels and errors come from outside, and a terminal obeys escape
    sequences. What can stand for another text (marks that change its direction, of no width, or
    of bytes that are no text) is not printable either.

    Args:
        text: Of any origin.
        keep: Letters to leave as they are, line breaks for instance.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


def one_line(text: str) -> str:
    """A message on one line, cleaned, whatever line breaks a library put into it."""
    return clean(" ".join(line.strip() for line in text.splitlines()))


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun: ``1 worker``, ``1,200 trials``, ``2 classes``."""
    many = plural or noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else many}"
