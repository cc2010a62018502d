"""Upload an object in parts: one that fails is sent again, and what a dead process left behind is aborted.

An upload of another process is aborted and never continued. A backup is a stream that can only be read from its
start, and parts of two readings need not fit together.
"""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from lockstep.domain.errors import DataError, Refused, Unavailable
from lockstep.stores.vault.place import Place
from lockstep.stores.vault.uploads import Uploads

#: seconds before a part is sent again, beyond the tries that the client itself makes within a few seconds: a server
#: that restarts costs a pause, and not the backup
WAITS = (1.0, 4.0, 16.0)

log = logging.getLogger(__name__)
Found = TypeVar("Found")


def write_multipart(place: Place, path: str, pieces: Iterator[bytearray], headers: Mapping[str, Any]) -> None:
    """Upload pieces as parts of one object; on any error nothing of it stays."""
    target = {"Bucket": place.bucket, "Key": path}
    with place.translated(path):
        made = place.client.create_multipart_upload(**target, **headers)
    upload = {**target, "UploadId": made["UploadId"]}
    done: dict[int, str] = {}

    def send(number: int, piece: bytearray) -> None:
        answer = _again(
            place,
            f"part {number} of {path}",
            path,
            lambda: place.client.upload_part(**upload, PartNumber=number, Body=piece),
        )
        done[number] = answer["ETag"]

    try:
        with Uploads() as uploads:
            for number, piece in enumerate(pieces, 1):
                uploads.submit(functools.partial(send, number, piece), len(piece))
            uploads.finish()
        parts = {"Parts": [{"PartNumber": number, "ETag": done[number]} for number in sorted(done)]}
        _again(
            place,
            f"the end of {path}",
            path,
            lambda: place.client.complete_multipart_upload(**upload, MultipartUpload=parts),
        )
    except BaseException:
        _abort(place, upload)
        raise


def _again(place: Place, what: str, path: str, ask: Callable[[], Found]) -> Found:
    """Ask, and ask again after a pause where the server did not answer; Unavailable after the last one."""
    for wait in WAITS:
        try:
            with place.translated(path):
                return ask()
        except Unavailable as problem:
            log.warning("%s was not taken; sending it again in %g s: %s", what, wait, problem)
            time.sleep(wait)
    with place.translated(path):
        return ask()


def abort_stale(place: Place, *, folder: str = "", path: str = "") -> int:
    """Abort the uploads to a path, or to any below a folder, that nobody finished; return how many there were.

    Called before anything is written there: whoever began them is dead, or was taken over.
    """
    prefix = path or f"{folder}/"
    try:
        with place.translated(prefix):
            pages = place.client.get_paginator("list_multipart_uploads").paginate(
                Bucket=place.bucket, Prefix=prefix
            )
            listed = [upload for page in pages for upload in page.get("Uploads") or ()]
    except (DataError, Refused) as problem:
        # Not every server lists them, and not every key may. They cost storage until a lifecycle rule ends them.
        log.info("unfinished uploads below %s could not be listed: %s", prefix, problem)
        return 0
    found = [upload for upload in listed if not path or upload["Key"] == path]
    for upload in found:
        log.warning("aborting an upload of %s that nobody finished", upload["Key"])
        _abort(place, {"Bucket": place.bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]})
    return len(found)


def _abort(place: Place, upload: Mapping[str, str]) -> None:
    try:
        place.client.abort_multipart_upload(**upload)
    except Exception:
        # The error that led here is the one to be seen; this upload is left to the next attempt.
        log.warning("a multipart upload of %s could not be aborted; remove it from the bucket", upload["Key"])
