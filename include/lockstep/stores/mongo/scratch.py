"""Scratch spaces: databases of Lockstep's own, beside the one that a store works in."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone

from pymongo.errors import OperationFailure

from lockstep.domain.errors import Refused
from lockstep.domain.resources import RESERVED
from lockstep.domain.scratch import SCRATCH, refuse_live
from lockstep.stores.mongo.connection import Connection
from lockstep.stores.mongo.errors import NOT_ALLOWED

#: the collection that makes an empty scratch database be there, and says since when
MARK = f"{RESERVED}_scratch"


def open_scratch(connection: Connection, name: str) -> Connection:
    """Empty a scratch database and mark it; return a connection to it."""
    drop_scratch(connection, name)
    made = connection.beside(name)
    with _allowed(connection, "making", name):
        made.collection(MARK).insert_one({"_id": name, "made_at": datetime.now(timezone.utc)})
    return made


def drop_scratch(connection: Connection, name: str) -> None:
    refuse_live(name, {connection.dbname})
    with _allowed(connection, "dropping", name):
        connection.client.drop_database(name)


def scratches(connection: Connection) -> list[str]:
    """Return their names, of those that the role may see."""
    with connection.translate("listing scratch spaces"):
        return sorted(name for name in connection.client.list_database_names() if name.startswith(SCRATCH))


@contextmanager
def _allowed(connection: Connection, doing: str, name: str) -> Iterator[None]:
    """Name the rights that a scratch space takes, where they are missing."""
    with connection.translate(f"{doing} the scratch space {name}"):
        try:
            yield
        except OperationFailure as problem:
            if problem.code not in NOT_ALLOWED:
                raise
            raise Refused(
                f"{connection.translate.where} does not allow {doing} the database {name!r}, which would be a scratch "
                f"space. Grant the role of the Airflow connection {connection.declared.conn_id!r} readWrite and dbAdmin "
                "on databases of that name (readWriteAnyDatabase and dbAdminAnyDatabase have them), or prove backups "
                "by checksum.",
                conn_id=connection.declared.conn_id,
                name=name,
            ) from problem
