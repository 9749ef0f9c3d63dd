"""Keeps the passwords of storage URLs out of everything that is printed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, quote_plus

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

VARIABLES = ("PGPASSWORD", "PGPASSFILE", "MYSQL_PWD")  # in which drivers look for one
SETTINGS = ("password", "sslpassword")  # of libpq, where a URL's query names them


def parsed(url: str) -> URL | None:
    """A URL in its parts, or None of what is none: the errors of that may quote a password."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return make_url(url)
    except (ArgumentError, ValueError):
        return None


def shown(url: str) -> str:
    """A URL as it may be printed."""
    parts = parsed(url)
    if parts is None:
        return "the given URL"
    hidden = {name: "***" for name in SETTINGS if name in parts.query}
    return parts.update_query_dict(hidden).render_as_string(hide_password=True)


def has_password(url: str) -> bool:
    """Whether a URL holds a password; the path of a file holds none."""
    parts = parsed(url)
    return parts is not None and (
        parts.password is not None or any(name in parts.query for name in SETTINGS)
    )


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Start processes within that do not inherit passwords: they need none."""
    taken = {name: os.environ.pop(name, None) for name in VARIABLES}
    try:
        yield
    finally:
        os.environ.update({name: value for name, value in taken.items() if value is not None})


def masked(text: str) -> str:
    """A text without what may be passwords in it: all from a colon to an @."""
    return re.sub(r":(?!//)\S*@", ":***@", text)


def without_secrets(text: str, url: str) -> str:
    """A driver's text without the URL's passwords, however it may quote them."""
    parts = parsed(url)
    values = [parts.password, *map(parts.query.get, SETTINGS)] if parts else []
    secrets = [value for value in values if isinstance(value, str) and value]
    for secret in secrets:
        for form in (secret, quote(secret), quote_plus(secret)):
            text = text.replace(form, "***")
    return text
