"""The table of what exports for a microcontroller measured."""

from __future__ import annotations

from collections.abc import Iterator

from search.reporting.leaderboard import Summary
from search.reporting.pages import words

SAYS = (
    "Measured with TensorFlow Lite Micro on this study's validation images, by export.py --micro: "
    "accuracy in float32 and int8, images that int8 classifies as torch does, and bytes in int8. "
    "The C program's are its activations and its constants; the interpreter's are its whole arena "
    "on a machine of 64 bits and its file."
)
HEADER = (
    *("trial", "float32", "int8", "same class", "RAM, C program", "RAM, interpreter"),
    *("flash, C program", "flash, interpreter"),
)


def rows(summary: Summary) -> Iterator[tuple[str, ...]]:
    """One for each trial; a figure that has a limit says whether it is kept."""
    limits = summary.limits
    for one in summary.micro:
        yield (
            f"trial {one.trial}",
            *(_share(of, one.images) for of in (one.float32_right, one.right)),
            words.NOTHING if one.same is None else f"{one.same:,} of {one.images:,}",
            _bytes(one.c_ram, limits.max_ram),
            _bytes(one.arena, limits.max_ram),
            _bytes(one.c_flash, limits.max_flash),
            _bytes(one.file_bytes, limits.max_flash),
        )


def _share(right: int | None, images: int) -> str:
    return words.NOTHING if right is None else words.percent(right / images)


def _bytes(count: int | None, limit: int | None) -> str:
    if count is None or limit is None:
        return words.count(count)
    return f"{count:,} ({'within' if count <= limit else 'over'} {limit:,})"
