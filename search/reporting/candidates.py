"""What a trial trained, in words and numbers: read from its candidate, else from its parameters."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from search.architecture.candidate import LayeredCandidate
from search.architecture.counting import flash_bytes, layer_table
from search.candidates.costs import LayerRow
from search.common.values import items, natural, number, positive, text
from search.reporting.records import TrialRecord

HEADS = {
    "gap-linear": "global average pooling, fully connected",
    "conv-gap": "1×1 convolution, global average pooling",
    "flatten-linear": "fully connected",
    "depthwise-linear": "global depthwise convolution, fully connected",
}


@dataclass(frozen=True, kw_only=True)
class Description:
    """The features that a leaderboard shows of a candidate; None where nothing says."""

    learning_rate: float | None = None
    dropout: tuple[float, ...] | None = None  # the rates above zero, ascending; () for none
    widths: tuple[int, ...] | None = None  # channels of each convolution, in order
    batch_norm: bool | None = None
    head: str | None = None
    recipe: tuple[tuple[str, str], ...] = ()  # (name, value) pairs as they are shown


def describe(record: TrialRecord) -> Description:
    """Describe a trial's candidate; any part that is missing or malformed is left out.

    Of a candidate without a JSON of its own its recipe is recorded, and its layers by their rows.
    """
    if record.modules:
        return _of_modules(record)
    candidate = _loads(record.candidate)
    layers = [layer for layer in _list(candidate.get("layers")) if isinstance(layer, Mapping)]
    recipe = candidate.get("recipe")
    recipe = recipe if isinstance(recipe, Mapping) else {}
    head = candidate.get("head")
    kind = head.get("kind") if isinstance(head, Mapping) else None
    shown = recipe or record.params
    return Description(
        learning_rate=_learning_rate(recipe) or _learning_rate(record.params),
        dropout=_dropout(layers) if layers else _suggested_dropout(record.params),
        widths=_widths(layers) if layers else _suggested_widths(record.params),
        batch_norm=_batch_norm(layers),
        head=kind if isinstance(kind, str) else None,
        recipe=tuple((_spaced(str(name)), value_text(value)) for name, value in shown.items()),
    )


def _of_modules(record: TrialRecord) -> Description:
    """Describe a network that was measured, by the modules that it is made of."""
    kinds = [text(kind) for kind in items(record.modules.get("kinds"))]
    rates = [number(rate) for rate in items(record.modules.get("dropout"))]
    averages = any(kind.startswith("Adaptive") for kind in kinds)
    connected = "flatten-linear" if any("Linear" in kind for kind in kinds) else None
    rows = layers_of(None, record.layers)
    return Description(
        learning_rate=_learning_rate(record.recipe),
        dropout=tuple(sorted(rate for rate in rates if rate)),
        widths=tuple(r.output_shape[0] for r in rows if r.parameters and len(r.output_shape) == 3),
        batch_norm=any("BatchNorm" in kind for kind in kinds),
        head="gap-linear" if averages else connected,
        recipe=tuple((_spaced(str(n)), value_text(value)) for n, value in record.recipe.items()),
    )


def layers_of(candidate: str | None, recorded: Sequence[object] = ()) -> list[LayerRow]:
    """The layers of a candidate, as they were recorded or of its JSON; none where neither tells.

    Args:
        candidate: As a space writes it.
        recorded: Rows as ``study.recording`` writes them.
    """
    try:
        return [_row(*values) for values in recorded if isinstance(values, list)] or layer_table(
            LayeredCandidate.from_json(candidate or "")
        )
    except (ValueError, TypeError):
        return []


def flash_of(record: TrialRecord) -> int | None:
    """Bytes that an int8 network keeps, as recorded or of its JSON; None where neither tells."""
    if record.flash_bytes is not None or record.layers:
        return record.flash_bytes
    try:
        return flash_bytes(LayeredCandidate.from_json(record.candidate or ""))
    except (ValueError, TypeError):
        return None


def _row(
    name: object, shape: object, parameters: object, macs: object, inputs: object, outputs: object
) -> LayerRow:
    """One row, its fields in the order of ``LayerRow``.

    Raises:
        ValueError: If one is unusable: anyone may have edited them.
    """
    counts = [natural(value) for value in (parameters, macs, inputs, outputs)]
    sizes = [positive(size) for size in shape] if isinstance(shape, list) else []
    if None in counts or None in sizes:
        raise ValueError("a row of layers is unusable")
    parameters, macs, inputs, outputs = (count or 0 for count in counts)
    return LayerRow(
        name=text(name),
        output_shape=tuple(size or 0 for size in sizes),
        parameters=parameters,
        macs=macs,
        input_values=inputs,
        output_values=outputs,
    )


def layer_lines(rows: Sequence[LayerRow]) -> str:
    """A layer table in Markdown."""
    lines = ["| layer | output shape | parameters | multiply-accumulates |", "|:--|--:|--:|--:|"]
    for row in rows:
        shape = "×".join(map(str, row.output_shape))
        lines.append(f"| {row.name} | {shape} | {row.parameters:,} | {row.macs:,} |")
    parameters, macs = sum(row.parameters for row in rows), sum(row.macs for row in rows)
    lines.append(f"| **total** | | **{parameters:,}** | **{macs:,}** |")
    return "\n".join(lines)


def dropout_text(rates: Sequence[float]) -> str:
    """Dropout rates in short: ``0.05``, ``0.05–0.1``, or ``0`` for none."""
    if not rates:
        return "0"
    low, high = (f"{rate:.3f}".rstrip("0").rstrip(".") for rate in (rates[0], rates[-1]))
    return low if low == high else f"{low}–{high}"


def value_text(value: object) -> str:
    """A setting as a person writes it: ``0.03``, ``yes``, ``–`` for nothing."""
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(value_text(part) for part in value) or "–"
    if isinstance(value, Mapping):
        return ", ".join(f"{_spaced(str(k))} {value_text(v)}" for k, v in value.items()) or "–"
    return text(str(value))


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _loads(candidate: str | None) -> Mapping[str, object]:
    try:
        loaded = json.loads(candidate or "{}")
    except (ValueError, RecursionError):
        return {}
    return loaded if isinstance(loaded, dict) else {}


def _list(value: object) -> list[object]:
    return value if isinstance(value, list) else []


def _learning_rate(settings: Mapping[str, object]) -> float | None:
    return number(settings.get("learning_rate", settings.get("lr")))


def _dropout(layers: list[Mapping[str, object]]) -> tuple[float, ...]:
    rates = {number(layer.get("rate")) or 0.0 for layer in layers if layer.get("op") == "dropout"}
    return tuple(sorted(rate for rate in rates if rate > 0))


def _suggested_dropout(params: Mapping[str, object]) -> tuple[float, ...] | None:
    rates = {number(value) for name, value in params.items() if "dropout" in name.lower()}
    found = {rate for rate in rates if rate is not None}
    return tuple(sorted(rate for rate in found if rate > 0)) if found else None


def _widths(layers: list[Mapping[str, object]]) -> tuple[int, ...]:
    widths = [positive(layer.get("width")) for layer in layers if layer.get("op") == "conv"]
    return tuple(width for width in widths if width is not None)


def _suggested_widths(params: Mapping[str, object]) -> tuple[int, ...] | None:
    named = [name for name in params if re.search(r"width|channels|filters", name.lower())]
    named.sort(key=lambda name: [int(p) if p.isdigit() else p for p in re.split(r"(\d+)", name)])
    widths = [positive(params[name]) for name in named]
    return tuple(width for width in widths if width is not None) or None


def _batch_norm(layers: list[Mapping[str, object]]) -> bool | None:
    convolutions = [layer for layer in layers if layer.get("op") == "conv"]
    return any(layer.get("norm") is True for layer in convolutions) if convolutions else None
