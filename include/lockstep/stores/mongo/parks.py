"""Collections that a revision took out of use, under names `_lockstep_parked_…`."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

from pymongo.errors import DuplicateKeyError, OperationFailure

from lockstep.domain.errors import Refused
from lockstep.domain.parked import Parked
from lockstep.domain.resources import RESERVED
from lockstep.stores.mongo import parking
from lockstep.stores.mongo.connection import Connection

PARKED = f"{RESERVED}_parked_"
#: one document a parked collection: {_id: its name now, of: what it was, at: when it went}
PARKS = f"{RESERVED}_parks"


def park(connection: Connection, name: str, as_: str) -> None:
    """Rename a collection out of use, and keep what it was and when it went."""
    parking.rename(connection, name, as_)
    _remember(connection, as_, name)


def unpark(connection: Connection, name: str, as_: str) -> None:
    # Before it is renamed: one that is forgotten and still parked is found again, and is young then.
    _forget(connection, as_)
    parking.rename(connection, as_, name)


def parked(connection: Connection) -> list[Parked]:
    """Return them with documents and bytes, indexes included; the age of one that nobody noted begins now."""
    with connection.translate("listing what is parked"):
        names = sorted(name for name in connection.db.list_collection_names() if name.startswith(PARKED))
        return [_thing(connection, name) for name in names]


def _thing(connection: Connection, name: str) -> Parked:
    noted = connection.collection(PARKS).find_one({"_id": name}) or _remember(connection, name, None)
    records, size = _measured(connection, name)
    return Parked(
        conn_id=connection.declared.conn_id,
        kind="collection",
        resource=noted["of"] or name.removeprefix(PARKED),
        parked_as=name,
        parked_at=noted["at"],
        bytes=size,
        records=records,
    )


def _measured(connection: Connection, name: str) -> tuple[int | None, int | None]:
    try:
        told = connection.db.command("collStats", name)
    except OperationFailure:
        # Not every role may ask, and not every server knows.
        told = {}
    size = next((told[part] for part in ("totalSize", "size") if isinstance(told.get(part), int)), None)
    return connection.collection(name).estimated_document_count(), None if size is None else int(size)


def _remember(connection: Connection, name: str, of: str | None) -> dict[str, Any]:
    noted = {"_id": name, "of": of, "at": datetime.now(timezone.utc).replace(microsecond=0)}
    if connection.read_only:
        return noted
    with connection.translate(f"noting that {name} is parked"):
        try:
            connection.collection(PARKS).insert_one(noted)
        except DuplicateKeyError:
            return connection.collection(PARKS).find_one({"_id": name}) or noted
    return noted


def _forget(connection: Connection, name: str) -> None:
    with connection.translate(f"noting that {name} is not parked any more"):
        connection.collection(PARKS).delete_one({"_id": name})


def remove_parked(connection: Connection, thing: Parked) -> None:
    """Drop one parked collection; Refused for any other."""
    if not thing.parked_as.startswith(PARKED):
        raise Refused(
            f"{thing.parked_as!r} is no parked collection: those are called {PARKED}…. Nothing was dropped.",
            parked_as=thing.parked_as,
        )
    with connection.translate(f"removing the parked collection {thing.parked_as}"):
        connection.collection(thing.parked_as).drop()
        _forget(connection, thing.parked_as)
