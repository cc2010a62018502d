"""Backups of the tests' own: taken into memory, and restored beside the database that they are of."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from postgres_tables import DB, Room

from lockstep.domain.progress import BackupFile
from lockstep.domain.resources import Everything, Table
from lockstep.domain.scratch import scratch_name
from lockstep.stores.postgres import PostgresStore

BLOCK = 4096


@dataclass
class Taken:
    """One backup: what a manifest says of its files, and the vault that has them."""

    files: list[BackupFile]
    body: bytes

    def read(self, path: str) -> Iterator[bytes]:
        assert path == self.files[0].path
        for start in range(0, len(self.body), BLOCK):
            yield self.body[start : start + BLOCK]


def backed_up(store: PostgresStore, *touched: Table | Everything) -> Taken:
    """Back tables up, all of the database where none is named."""
    (part,) = store.backup(touched or [Everything(DB)])
    body = b"".join(part.chunks())
    file = BackupFile(
        path=f"backups/run/{part.name}",
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        holds=part.holds,
        count=part.count(),
    )
    return Taken([file], body)


@contextmanager
def scratch(room: Room, taken: Taken | None = None) -> Iterator[PostgresStore]:
    """Give a scratch database beside the room's, with a backup in it; it is dropped afterwards."""
    name = scratch_name(uuid.uuid4().hex[:12], DB.conn_id)
    store = room.store.open_scratch(name)
    try:
        if taken is not None:
            store.load(taken.files, taken.read)
        yield store
    finally:
        store.close()
        room.store.drop_scratch(name)


@contextmanager
def copied(room: Room, *touched: Table | Everything) -> Iterator[PostgresStore]:
    """Give a scratch database that holds what is in the room's now."""
    with scratch(room, backed_up(room.store, *touched)) as store:
        yield store
