"""Shows a study in the browser, also while it is being searched.

    python search/dashboard.py
    python search/dashboard.py --storage small.db --port 8081

As optuna-dashboard does, but a missing study is said instead of created, and a page that is being
loaded never blocks a search that writes. The best network's weights and learning curve are among
the study's artifacts; they are kept beside the study, in study.db.artifacts.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

if __package__ in (None, ""):  # run as a script: Python put search/ on the path, not its parent
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from search.cli import HelpFormatter, Parser, positive, run_command, storage_name
from search.engine.errors import UserError
from search.engine.storage import DEFAULT_STORAGE


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """The command line as a namespace."""
    parser = Parser(prog="dashboard.py", description=__doc__, formatter_class=HelpFormatter)
    parser.add_argument(
        "--storage",
        type=storage_name,
        default=DEFAULT_STORAGE,
        metavar="FILE|URL",
        help="SQLite file or database URL; default: study.db in the project's root",
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on")
    parser.add_argument("--port", type=positive, default=8080, metavar="N", help="port")
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted; returns the exit code."""
    options = parse(arguments)

    import optuna_dashboard
    from optuna.artifacts import FileSystemArtifactStore

    from search.dashboard_view import artifacts_folder
    from search.engine.storage import is_ours, open_study

    study = open_study(options.storage)
    print(f"http://{options.host}:{options.port}/ shows the study; Ctrl-C ends", flush=True)
    folder = artifacts_folder(options.storage)
    store = None
    if folder is not None and is_ours(study):
        try:
            folder.mkdir(exist_ok=True)
        except OSError as error:  # of a study that can only be read, for instance
            print(f"without artifacts: {folder}: {error.strerror}", file=sys.stderr, flush=True)
        else:
            print(f"its artifacts are kept in {folder}", flush=True)
            store = FileSystemArtifactStore(folder)
    try:
        optuna_dashboard.run_server(
            study._storage, host=options.host, port=options.port, artifact_store=store
        )
    except OSError as error:
        problem = error.strerror or str(error)
        raise UserError(
            f"{options.host}:{options.port} cannot be used: {problem}", "Choose another --port"
        ) from None
    return 0


if __name__ == "__main__":
    run_command(main)
