"""The embedded document server: nx-27017, which speaks MongoDB's protocol over SQLite files."""

import sys
from pathlib import Path
from typing import Any

from pymongo import MongoClient
from pymongo.errors import PyMongoError

from lockstep.embedded.process import Child, Spec, listens

HOST = "127.0.0.1"
DATABASE = "campus"


def spec(root: Path, port: int) -> Spec:
    """Say how to run the server."""
    data = root / "mongo"
    listen = ("--host", HOST, "--port", str(port))
    return Spec(
        name="mongo",
        command=(sys.executable, "-m", "nx_27017.nx_27017", *listen, "--data-dir", str(data)),
        data=data,
        log=root / "logs" / "mongo.log",
        record=root / "run" / "mongo.json",
    )


def uri(port: int) -> str:
    """Return the server's URI."""
    return f"mongodb://{HOST}:{port}/"


def ready(child: Child, port: int) -> bool:
    """Tell whether the server answers a ping."""
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
