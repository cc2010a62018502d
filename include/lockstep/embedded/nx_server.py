"""Serve documents with nx-27017: `python -m lockstep.embedded.nx_server --help`.

Its own command keeps one pid file for the whole machine, which allows a single server on it, and logs every
command that a client sends.
"""

import argparse
import signal
import sys
from pathlib import Path

from nx_27017.handler import NeoSQLiteHandler  # type: ignore[import-untyped]
from nx_27017.server import run_server_threaded  # type: ignore[import-untyped]

from lockstep.embedded.mongo import HOST


def main(argv: list[str] | None = None) -> None:
    """Serve until ended by a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    options = parser.parse_args(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    handler = NeoSQLiteHandler(data_dir=str(options.data_dir))
    run_server_threaded(HOST, options.port, handler, use_threading=False)


if __name__ == "__main__":
    main()
