"""What came of a write, and the conditions under which a server makes one, where it knows them."""

from __future__ import annotations

from enum import Enum
from typing import Any

from lockstep.stores.s3.connection import Connection
from lockstep.stores.s3.state import State


class Outcome(Enum):
    WRITTEN = "written"
    ALREADY = "already"
    CONFLICT = "conflict"
    #: a move of which the source is still to be deleted
    COPIED = "copied"


def guards(connection: Connection, now: State | None) -> dict[str, Any]:
    """Return the conditions of a copy onto what is there now."""
    able = connection.capabilities
    if now is None:
        return {"IfNoneMatch": "*"} if able.guards_creates else {}
    return {"IfMatch": now["etag"]} if able.guards_overwrites else {}


def delete(connection: Connection, key: str, now: State | None) -> None:
    guarded = connection.capabilities.guards_deletes and now is not None
    condition = {"IfMatch": now["etag"]} if guarded and now is not None else {}
    connection.client.delete_object(Bucket=connection.bucket, Key=key, **condition)
