"""The embedded document server: nx-27017, which speaks MongoDB's protocol over SQLite files."""

import sys
from pathlib import Path
from typing import Any

from lockstep.embedded.process import Child, Spec, listens

HOST = "127.0.0.1"
DATABASE = "campus"


def spec(root: Path, port: int) -> Spec:
    """Say how to run the server."""
    data = root / "mongo"
    options = ("--port", str(port), "--data-dir", str(data))
    return Spec(
        name="mongo",
        command=(sys.executable, "-m", "lockstep.embedded.nx_server", *options),
        data=data,
        log=root / "logs" / "mongo.log",
        record=root / "run" / "mongo.json",
    )


def uri(port: int) -> str:
    """Return the server's URI."""
    return f"mongodb://{HOST}:{port}/"


def ready(child: Child, port: int) -> bool:
    """Tell whether the server answers a ping."""
    from pymongo import MongoClient  # not needed by the servers, which import this package too
    from pymongo.errors import PyMongoError

    if not listens(child, port):
        return False
    client: MongoClient[dict[str, Any]] = MongoClient(uri(port), serverSelectionTimeoutMS=2000)
    try:
        client.admin.command("ping")
    except PyMongoError:
        return False
    else:
        return True
    finally:
        client.close()
