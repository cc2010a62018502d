"""What `drop_objects` moved out of use: `_lockstep/parked/<run>/<step>/<key>`, a thing for each run and step."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from itertools import groupby, takewhile
from typing import Any

from lockstep.domain.errors import Refused
from lockstep.domain.parked import Parked
from lockstep.stores.s3.connection import OWN, Connection
from lockstep.stores.s3.deleting import delete_all
from lockstep.stores.s3.reading import keys

HOME = f"{OWN}parked/"
_THING = re.compile(re.escape(HOME) + r"(?P<run>[^/]+)/(?P<step>[^/]+)/")


def parked(connection: Connection) -> list[Parked]:
    """Return the things with the bytes and the number of their objects, and when the first of them went."""
    with connection.translate("listing what is parked"):
        return [
            _thing(connection, place, found)
            for place, found in groupby(_listed(connection), key=lambda item: _place_of(item["Key"]))
            if place is not None
        ]


def _listed(connection: Connection) -> Iterator[dict[str, Any]]:
    pages = connection.client.get_paginator("list_objects_v2").paginate(Bucket=connection.bucket, Prefix=HOME)
    for page in pages:
        yield from page.get("Contents") or ()


def _place_of(key: str) -> str | None:
    found = _THING.match(key)
    return None if found is None else found[0]


def _thing(connection: Connection, place: str, found: Iterator[dict[str, Any]]) -> Parked:
    size = records = 0
    since: datetime | None = None
    folders: list[str] | None = None
    for item in found:
        size += item["Size"]
        records += 1
        since = item["LastModified"] if since is None else min(since, item["LastModified"])
        path = item["Key"][len(place) :].split("/")[:-1]
        folders = path if folders is None else _shared(folders, path)
    assert since is not None
    named = _THING.match(place)
    return Parked(
        conn_id=connection.declared.conn_id,
        kind="objects",
        # The prefix itself is in the revision; this is what all its objects have in common.
        resource="".join(f"{folder}/" for folder in folders or ()) or "*",
        parked_as=place,
        parked_at=since,
        run_id=named["run"] if named else None,
        bytes=size,
        records=records,
    )


def _shared(first: list[str], second: list[str]) -> list[str]:
    same = takewhile(lambda pair: pair[0] == pair[1], zip(first, second, strict=False))
    return [folder for folder, _ in same]


def remove_parked(connection: Connection, thing: Parked) -> None:
    """Delete the objects of one parked thing; Refused for any other place."""
    if not _THING.fullmatch(thing.parked_as):
        raise Refused(
            f"{thing.parked_as!r} is no place of parked objects: those are {HOME}<run>/<step>/. Nothing was deleted.",
            parked_as=thing.parked_as,
        )
    doing = f"removing what is parked as {thing.parked_as}"
    delete_all(connection, keys(connection, thing.parked_as), doing)
