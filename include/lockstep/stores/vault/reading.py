"""Stream an object, going on where a connection broke, and list what is there."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack

from lockstep.domain.errors import Unavailable
from lockstep.stores.vault.place import Place

#: bytes read at a time
READ_SIZE = 1024 * 1024
#: seconds before the rest is asked for, after a connection that broke on the way; one that brings something counts anew
WAITS = (0.5, 2.0, 8.0)

log = logging.getLogger(__name__)


def stream(place: Place, path: str) -> Iterator[bytes]:
    """Yield an object's body. Whatever is read after a break is of the same object, by its ETag."""
    at, etag, tries = 0, "", 0
    while True:
        asked = {"Range": f"bytes={at}-", "IfMatch": etag} if at else {}
        try:
            with place.translated(path), ExitStack() as opened:
                answer = place.client.get_object(Bucket=place.bucket, Key=path, **asked)
                etag = str(answer["ETag"])
                opened.callback(answer["Body"].close)
                for chunk in answer["Body"].iter_chunks(READ_SIZE):
                    at += len(chunk)
                    tries = 0
                    yield chunk
            return
        except Unavailable as problem:
            # Nothing came yet: the client itself has tried several times.
            if not at or tries == len(WAITS):
                raise
            log.warning("reading %s broke off after %d bytes; going on there: %s", path, at, problem)
            time.sleep(WAITS[tries])
            tries += 1


def paths(place: Place, folder: str) -> Iterator[str]:
    """Yield the paths below a folder in the order of their UTF-8 bytes; all there are for an empty one."""
    prefix = f"{folder.rstrip('/')}/" if folder else ""
    pages = place.client.get_paginator("list_objects_v2").paginate(Bucket=place.bucket, Prefix=prefix)
    with place.translated(prefix):
        for page in pages:
            for item in page.get("Contents") or ():
                yield item["Key"]
