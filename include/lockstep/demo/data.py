"""Campus's data for a demo: made once for each data folder, and never added to later."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config

from campus.fill import UPLOADERS, Targets, fill
from campus.shapes import Size
from lockstep.demo.errors import OtherSizeError
from lockstep.demo.size import scaled, words
from lockstep.embedded import Servers

#: Written down before the first record: filling is resumed with the same size if it was interrupted.
SIZE = "campus.json"


def size_for(root: Path, default: Size, asked: str | None) -> Size:
    """Return the size of the data that is there, or is to be made; raise where both differ."""
    wanted = scaled(default, asked) if asked else None
    if not (root / SIZE).exists():
        return wanted or default
    made = Size(**json.loads((root / SIZE).read_text())["size"])
    if wanted is not None and wanted != made:
        raise OtherSizeError(root, words(made), words(wanted))
    return made


def fill_once(servers: Servers, size: Size) -> bool:
    """Make the data, unless it was made: revisions have changed it since, and more would not fit to it."""
    kept = servers.root / SIZE
    if kept.exists() and json.loads(kept.read_text())["filled"]:
        return False
    _write(kept, size, filled=False)
    with s3_client(servers) as client:
        fill(
            Targets(
                auth_uri=servers.postgres_uri("campus_auth"),
                yapper_uri=servers.postgres_uri("campus_yapper"),
                mongo_uri=servers.mongo_uri,
                s3_client=client,
            ),
            size,
        )
    _write(kept, size, filled=True)
    return True


@contextmanager
def s3_client(servers: Servers) -> Iterator[Any]:
    """Open a client of the embedded S3 server."""
    client = boto3.client(
        "s3",
        endpoint_url=servers.s3_endpoint,
        region_name=servers.s3_region,
        aws_access_key_id=servers.s3_access_key,
        aws_secret_access_key=servers.s3_secret_key,
        config=Config(max_pool_connections=UPLOADERS),
    )
    try:
        yield client
    finally:
        client.close()


def _write(kept: Path, size: Size, *, filled: bool) -> None:
    fresh = kept.with_suffix(".new")
    fresh.write_text(json.dumps({"size": vars(size), "filled": filled}))
    fresh.replace(kept)
