"""Shows a study in the browser, also while it is being searched.

    python search/dashboard.py
    python search/dashboard.py --storage small.db --port 8081

Like optuna-dashboard, but a missing study is an error and is not created, and loading a page never
blocks a running search. The best network's weights and learning curve are among
the study's artifacts; they are kept beside the study, in study.db.artifacts.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":  # Ctrl-C while Python imports the rest: its end, without a traceback
    sys.excepthook = lambda kind, *of: (
        None if kind is KeyboardInterrupt else sys.__excepthook__(kind, *of)
    )

import argparse
import socket
from pathlib import Path

if __package__ in (None, ""):  # run as a script: Python put search/ on the path, not its parent
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from search.common.errors import UserError
from search.common.output import complain, say
from search.console.arguments import HelpFormatter, Parser, add_storage, run_command, whole


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = Parser(prog="dashboard.py", description=__doc__, formatter_class=HelpFormatter)
    add_storage(parser)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=whole(1, 65_535), default=8080, metavar="N", help="port")
    options = parser.parse_args(arguments)
    if not options.host:  # a socket would take it for every address of this machine
        parser.error("argument --host: an address is needed, but got ''")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; returns the exit code."""
    options = parse(arguments)

    # Imported here and in the functions below: --help and what is wrong with the arguments
    # are answered at once, without torch and Optuna.
    import optuna_dashboard
    from optuna.artifacts import FileSystemArtifactStore

    from search.reporting.dashboard.view import artifacts_folder
    from search.study.storages.opening import is_ours, open_study

    study = open_study(options.storage)
    try:  # before anything is said or made
        socket.create_server((options.host, options.port)).close()
    except (OSError, UnicodeError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise UserError(
            f"{options.host}:{options.port} cannot be used: {problem}",
            "Choose another --host or --port",
        ) from None
    say(f"http://{options.host}:{options.port}/ shows the study; Ctrl-C ends")
    folder = artifacts_folder(options.storage)
    store = None
    if folder is not None and is_ours(study):
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:  # of a study that can only be read, for instance
            complain(f"without artifacts: {folder}: {error.strerror}")
        else:
            say(f"its artifacts are kept in {folder}")
            store = FileSystemArtifactStore(folder)
    optuna_dashboard.run_server(
        study.storage, host=options.host, port=options.port, artifact_store=store
    )
    return 0


if __name__ == "__main__":
    run_command(main)
