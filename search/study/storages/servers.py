"""Optuna's storage on a database server that may restart in mid-run."""

from __future__ import annotations

import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy.engine import make_url

from search.study.storages.server_retry import LockLost, connect_arguments, held, is_alive


def open_server(url: str) -> RDBStorage:
    """Optuna's storage of a URL of SQLAlchemy's.

    While this process holds the study's lock no lost connection is replaced silently: the lock may
    have ended with it. What is done then raises ``LockLost``.
    """
    opened = RDBStorage(
        url.replace("{", "{{").replace("}", "}}"),  # Optuna fills in a template
        engine_kwargs={
            "pool_pre_ping": True,
            "pool_size": 1,
            "max_overflow": 4,
            "connect_args": connect_arguments(make_url(url)),
        },
    )

    def before_connecting(*_: object) -> None:
        if url in held and not is_alive(held[url]):
            raise LockLost

    sqlalchemy.event.listen(opened.engine, "do_connect", before_connecting)
    return opened
