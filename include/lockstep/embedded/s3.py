"""The embedded S3 server: moto over HTTP, written through to files."""

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lockstep.embedded.process import Child, Spec, listens

HOST = "127.0.0.1"
REGION = "us-east-1"
BUCKETS = ("campus", "lockstep-vault")
#: The server listens on loopback only and checks no signature, but a client will not sign without a pair.
ACCESS_KEY = "lockstep"
SECRET_KEY = "lockstep-embedded"  # noqa: S105

Application = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def spec(root: Path, port: int) -> Spec:
    """Say how to run the server."""
    data = root / "s3"
    return Spec(
        name="s3",
        command=(sys.executable, "-m", "lockstep.embedded.s3", "--port", str(port), "--data-dir", str(data)),
        data=data,
        log=root / "logs" / "s3.log",
        record=root / "run" / "s3.json",
    )


def endpoint(port: int) -> str:
    """Return the server's address."""
    return f"http://{HOST}:{port}"


def ready(child: Child, port: int) -> bool:
    """Tell whether the server listens; it does so only when everything is loaded."""
    return listens(child, port)


def create_missing_buckets(port: int) -> None:
    """Create the buckets that are not there."""
    import boto3

    client = boto3.client(
        "s3",
        endpoint_url=endpoint(port),
        region_name=REGION,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
    )
    try:
        there = {bucket["Name"] for bucket in client.list_buckets()["Buckets"]}
        for name in BUCKETS:
            if name not in there:
                client.create_bucket(Bucket=name)
    finally:
        client.close()


def application(data: Path) -> Application:
    """Return moto's S3, loaded from the folder and written through to it."""
    from moto.moto_server.werkzeug_app import create_backend_app

    from lockstep.embedded.object_files import ObjectFiles
    from lockstep.embedded.s3_memory import Memory

    moto = create_backend_app("s3")
    moto.debug = False
    # Keys may hold '//'; the router would otherwise answer with a redirect to a different key.
    moto.url_map.merge_slashes = False
    memory = Memory(ObjectFiles(data))
    memory.watch()
    memory.begin()
    memory.load()

    def serve(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        memory.begin()
        answer: Iterable[bytes] = moto(environ, start_response)
        memory.flush()
        return answer

    return serve


def main(argv: list[str] | None = None) -> None:
    """Serve until ended by a signal."""
    from moto.moto_server.werkzeug_app import MotoRequestHandler
    from werkzeug.serving import make_server

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--data-dir", type=Path, required=True)
    options = parser.parse_args(argv)

    class Quiet(MotoRequestHandler):
        """Log errors only."""

        def log_request(self, *_: Any) -> None:
            """Say nothing about a request that was served."""

    app = application(options.data_dir)
    make_server(HOST, options.port, app, threaded=True, request_handler=Quiet).serve_forever()


if __name__ == "__main__":
    main()
