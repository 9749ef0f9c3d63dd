"""Dataclasses from JSON, with unknown fields and wrong types refused by name."""

from __future__ import annotations

import dataclasses
import json
import reprlib
import types
import typing
from typing import Any, TypeVar

T = TypeVar("T")
LONGEST = 300  # digits of a whole number: a float holds 308


def loads(text: str) -> Any:
    """The value of a JSON text, as ``json.loads`` gives it, but of strict JSON alone.

    Raises:
        ValueError: If the text is not JSON, nested too deeply, repeats a field of an object, or
            has a number that is none (``NaN``, ``Infinity``) or too long.
    """
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse, parse_int=_whole)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the field {reprlib.repr(twice)} is there twice")
    return found


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant} is not a number of JSON")


def _whole(digits: str) -> int:
    if len(digits) > LONGEST:
        raise ValueError(f"a number of {len(digits):,} digits is too long")
    return int(digits)


def decode(kind: type[T], data: Any) -> T:
    """A dataclass from plain JSON values; a whole number will do for a float.

    Args:
        kind: A dataclass of numbers, strings, booleans, such dataclasses and tuples of them.
        data: As ``json.loads`` gave it.

    Raises:
        ValueError: If a field is unknown, missing or of the wrong type, or ``kind`` refuses its
            value; the message says which.
    """
    if not isinstance(data, dict):
        raise ValueError(f"{kind.__name__.lower()} must be an object, but got {reprlib.repr(data)}")
    hints = typing.get_type_hints(kind)
    values: dict[str, Any] = {}
    for name, value in data.items():
        if name not in hints:
            raise ValueError(f"{kind.__name__.lower()} has no field {reprlib.repr(name)}")
        values[name] = _typed(f"{kind.__name__.lower()}.{name}", hints[name], value)
    try:
        return kind(**values)
    except TypeError as error:  # a field without a default is missing
        raise ValueError(f"{kind.__name__.lower()}: {error}") from None


def _typed(name: str, hint: Any, value: Any) -> Any:
    if dataclasses.is_dataclass(hint):
        return decode(typing.cast(type[Any], hint), value)
    if typing.get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise ValueError(f"{name} must be a list, but got {reprlib.repr(value)}")
        return tuple(_typed(name, typing.get_args(hint)[0], item) for item in value)
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if float in allowed and type(value) is int:
        return float(value)
    if type(value) not in allowed:
        expected = " or ".join(getattr(kind, "__name__", str(kind)) for kind in allowed)
        raise ValueError(f"{name} must be {expected}, but got {reprlib.repr(value)}")
    return value
