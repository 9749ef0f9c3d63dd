"""A layer table of a network's run, for people to read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby

from torch import nn

from search.candidates.costs import LayerRow
from search.candidates.measuring.operations import NORMS
from search.candidates.measuring.trace import Part, Step, Trace

MOST = 200  # rows


def table(trace: Trace, parameters: Mapping[int, int]) -> tuple[LayerRow, ...]:
    """The layers in the order of their work.

    A row is a call of a module that has parameters or multiply-accumulates or changes the shape;
    what a module does outside its children has rows of its own. A norm or an activation that
    follows belongs to the row before. A parameter is counted where it is first used, and in a last
    row if it never is. Rows after the 199th are summed up in one.

    Args:
        trace: What was done.
        parameters: Numbers in each parameter, by ``id()``.
    """
    rows: list[LayerRow] = []
    seen: set[int] = set()
    latest: int | None = None  # the activation that the last row leaves
    for part in trace.parts:
        if not part.steps:
            continue
        used = frozenset().union(*(step.parameters for step in part.steps))
        count = sum(parameters[parameter] for parameter in used - seen)
        seen |= used
        if _is_quiet(part):
            if rows and any(latest in step.reads for step in part.steps):
                name = f"{rows[-1].name}, {_short(part)}"
                rows[-1] = replace(rows[-1], name=name, parameters=rows[-1].parameters + count)
                latest = _left(part, latest)
                continue
            if not used:
                continue
        rows.append(_row(part, count, trace.sizes))
        latest = _left(part, latest)
    unused = sum(parameters.values()) - sum(row.parameters for row in rows)
    if unused:
        rows.append(_empty("other parameters", unused))
    if len(rows) > MOST:
        rest = rows[MOST - 1 :]
        rows = [*rows[: MOST - 1], replace(_sum_of(rest), name=f"{len(rest):,} more rows")]
    return tuple(rows)


def _is_quiet(part: Part) -> bool:
    """Whether it neither multiplies, nor has weights but a norm's, nor changes the shape."""
    return (
        not part.stated
        and part.input_shape == part.output_shape
        and not any(step.macs for step in part.steps)
        and all(step.operation in NORMS for step in part.steps if step.parameters)
    )


def _left(part: Part, before: int | None) -> int | None:
    """The activation that a part leaves: the last it wrote, or the one that it changed."""
    return next((step.writes[0] for step in reversed(part.steps) if step.writes), before)


def _row(part: Part, parameters: int, sizes: Mapping[int, int]) -> LayerRow:
    def values(numbers: Sequence[int]) -> int:
        return sum(sizes[number] for number in numbers)

    def needs(step: Step) -> tuple[int, int]:
        return values(step.reads), values(step.writes[:1])

    steps = [step for step in part.steps if not step.in_place] or part.steps
    read, written = max(map(needs, steps), key=sum)
    return LayerRow(
        name=_name(part),
        output_shape=part.output_shape,
        parameters=parameters,
        macs=sum(step.macs for step in part.steps),
        input_values=read,
        output_values=written,
    )


def _empty(name: str, parameters: int) -> LayerRow:
    return LayerRow(
        name=name,
        output_shape=(),
        parameters=parameters,
        macs=0,
        input_values=0,
        output_values=0,
    )


def _sum_of(rows: Sequence[LayerRow]) -> LayerRow:
    largest = max(rows, key=lambda row: row.input_values + row.output_values)
    return replace(
        largest,
        output_shape=rows[-1].output_shape,
        parameters=sum(row.parameters for row in rows),
        macs=sum(row.macs for row in rows),
    )


def _name(part: Part) -> str:
    """For instance ``blocks.0.conv: Conv2d 16→32, 3×3, stride 2, depthwise``."""
    path = f"{part.name}: " if part.name else ""
    words = [_kind(part.module) + _sizes(part.module), *_settings(part.module)]
    if not _is_torchs(part.module) and not part.stated:
        words.append(_operations(part))
    return path + ", ".join(words) + " (again)" * part.again


def _short(part: Part) -> str:
    """What is written behind the row before: ``BatchNorm2d``, or ``add`` for an operation."""
    return _kind(part.module) if _is_torchs(part.module) else _operations(part)


def _is_torchs(module: nn.Module) -> bool:
    return type(module).__module__.startswith("torch.nn.")


def _kind(module: nn.Module) -> str:
    return type(module).__name__


def _operations(part: Part) -> str:
    names = [step.operation.strip("_").removesuffix("_with_indices") for step in part.steps]
    names = [name for name, _ in groupby(names)]
    return ", ".join(names if len(names) <= 4 else [*names[:3], "…"])


def _sizes(module: nn.Module) -> str:
    for kind in ("channels", "features"):
        given, made = (getattr(module, f"{side}_{kind}", None) for side in ("in", "out"))
        if isinstance(given, int) and isinstance(made, int):
            return f" {given}→{made}"
    return ""


def _settings(module: nn.Module) -> list[str]:
    words = []
    kernel = getattr(module, "kernel_size", None)
    if isinstance(kernel, int) and _is_torchs(module):
        kernel = (kernel, kernel)
    if isinstance(kernel, tuple):
        words.append("×".join(map(str, kernel)))
    if hasattr(module, "in_channels"):
        for name in ("stride", "dilation"):
            sides = getattr(module, name, None)
            if isinstance(sides, tuple) and set(sides) != {1}:
                words.append(
                    f"{name} " + "×".join(map(str, sides if len({*sides}) > 1 else sides[:1]))
                )
        groups = getattr(module, "groups", 1)
        if isinstance(groups, int) and groups > 1:
            words.append("depthwise" if groups == module.in_channels else f"{groups} groups")
    return words
