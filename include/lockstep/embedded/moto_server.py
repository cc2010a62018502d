"""Serve moto's S3 over HTTP, written through to files: `python -m lockstep.embedded.moto_server --help`."""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from moto.moto_server.werkzeug_app import MotoRequestHandler, create_backend_app
from werkzeug.serving import make_server

from lockstep.embedded.object_files import ObjectFiles
from lockstep.embedded.s3 import HOST
from lockstep.embedded.s3_memory import Memory

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


class Quiet(MotoRequestHandler):
    """Log errors only."""

    def log_request(self, *_: Any) -> None:
        """Say nothing about a request that was served."""


def application(data: Path) -> Application:
    """Return moto's S3, loaded from the folder and written through to it."""
    moto = create_backend_app("s3")
    moto.debug = False
    # Keys may hold '//'; the router would otherwise answer with a redirect to a different key.
    moto.url_map.merge_slashes = False
    memory = Memory(ObjectFiles(data))
    memory.load()
    memory.watch()

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        memory.begin()
        try:
            answer: Iterable[bytes] = moto(environ, start_response)
            return answer
        finally:
            memory.flush()  # before the first byte of the answer leaves

    return serve


def main(argv: list[str] | None = None) -> None:
    """Serve until ended by a signal."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    options = parser.parse_args(argv)

    app = application(options.data_dir)
    make_server(HOST, options.port, app, threaded=True, request_handler=Quiet).serve_forever()


if __name__ == "__main__":
    main()
