"""Measure a copy of a PostgreSQL database, watch its locks, and take a sample of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from lockstep.domain.errors import LockstepError
from lockstep.domain.rehearsal import HeldLock
from lockstep.domain.resources import Everything, Table, Touched
from lockstep.stores.postgres.store import PostgresStore

#: seconds between two looks at the locks; one that is held for less may not be seen
EVERY = 0.025
#: locks that are kept of one step
MOST = 50
#: characters of a statement
SHOWN = 300

#: The database on disk, and the server's position in its write-ahead log: other databases write there too.
SIZE = (
    "SELECT pg_database_size(current_database()), pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
)

#: Locks of other sessions in this database that keep somebody out, on relations that are not Lockstep's own.
HELD = """
SELECT l.pid, a.xact_start::text, n.nspname || '.' || c.relname, l.mode, coalesce(a.query, '')
FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid
JOIN pg_class c ON c.oid = l.relation JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE l.granted AND l.locktype = 'relation' AND l.pid <> pg_backend_pid()
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.mode IN ('ShareUpdateExclusiveLock', 'ShareLock', 'ShareRowExclusiveLock', 'ExclusiveLock',
                 'AccessExclusiveLock')
  AND a.backend_type = 'client backend' AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('lockstep_state', 'pg_catalog', 'pg_toast', 'information_schema')
"""

#: mode → whom it keeps out, from mild to strong
KEEPS_OUT = {
    "ShareUpdateExclusiveLock": "other changes of its kind",
    "ShareLock": "writers",
    "ShareRowExclusiveLock": "writers",
    "ExclusiveLock": "writers",
    "AccessExclusiveLock": "readers and writers",
}

#: Tables that may be thinned: ordinary ones with a primary key, and their key's columns.
KEYED = """
SELECT c.oid::bigint, n.nspname::text, c.relname::text,
       array_agg(quote_ident(a.attname) ORDER BY array_position(i.indkey::int2[], a.attnum))
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY(i.indkey)
WHERE c.relkind = 'r' AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'lockstep_state', 'lockstep_parked')
GROUP BY 1, 2, 3 ORDER BY 2, 3
"""

#: Foreign keys: who refers to whom, by which columns, in pairs.
REFERENCES = """
SELECT f.conrelid::bigint, f.confrelid::bigint, f.conrelid::regclass::text,
       array_agg(quote_ident(a.attname) ORDER BY k.place), array_agg(quote_ident(b.attname) ORDER BY k.place)
FROM pg_constraint f CROSS JOIN LATERAL unnest(f.conkey, f.confkey) WITH ORDINALITY AS k (by, to_, place)
JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = k.by
JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = k.to_
WHERE f.contype = 'f' GROUP BY f.oid, 1, 2, 3
"""

#: Rows outside of the sample that nobody refers to.
DELETE = """
DELETE FROM {table} AS "_lockstep_t"
WHERE (hashtextextended(ROW({key})::text, 7) & 1048575) >= {threshold} {unless}
"""
UNLESS = ' AND NOT EXISTS (SELECT FROM {child} AS "_lockstep_c" WHERE {pairs})'


class PostgresGauge:
    """A Gauge of one database; `store` works in the copy."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store

    def size(self) -> Mapping[str, int]:
        with self._store.handle() as conn:
            database, wal = conn.execute(SIZE).fetchone()
        return {"database": int(database), "wal": int(wal)}

    @contextmanager
    def watching(self) -> Iterator[_Watch]:
        watch = _Watch(self._store)
        thread = threading.Thread(target=watch.look, name="lockstep-locks", daemon=True)
        thread.start()
        try:
            yield watch
        finally:
            watch.over.set()
            thread.join()

    def thin(self, percent: float, resources: Sequence[Touched]) -> tuple[Mapping[str, int], str]:
        with self._store.handle() as conn:
            # Told apart by oid from here on: a search path of the role's would leave schemas out of names.
            conn.execute("SELECT set_config('search_path', 'pg_catalog', true)")
            tables = {
                oid: _Keyed(oid, schema, name, tuple(key)) for oid, schema, name, key in conn.execute(KEYED)
            }
            edges = [_Edge(*row) for row in conn.execute(REFERENCES)]
            wanted = _wanted(tables, resources)
            order, left = _children_first(wanted, edges)
            for oid in order:
                conn.execute(_delete(tables[oid], percent, [edge for edge in edges if edge.parent == oid]))
        kept = {}
        for oid in order:
            table = tables[oid]
            self._store.run_outside_transaction(f"VACUUM (FULL, ANALYZE) {table.sql}", lock_timeout=60.0)
            slug = table.name if table.schema == "public" else f"{table.schema}.{table.name}"
            kept[slug] = self._store.count(_as_table(self._store, table))
        said = f"{percent:g} % of the rows of {len(order)} table(s) by a hash of the primary key, and what they refer to"
        if left:
            whole = ", ".join(sorted(tables[oid].name for oid in left))
            said += f"; whole, since their foreign keys go round in a circle: {whole}"
        return kept, said


@dataclass(frozen=True)
class _Keyed:
    oid: int
    schema: str
    name: str
    key: tuple[str, ...]

    @property
    def sql(self) -> str:
        return ".".join('"' + part.replace('"', '""') + '"' for part in (self.schema, self.name))


@dataclass(frozen=True)
class _Edge:
    child: int
    parent: int
    child_sql: str
    by: Sequence[str]
    to: Sequence[str]


def _as_table(store: PostgresStore, table: _Keyed) -> Table:
    return Table(store.database, table.name, schema=table.schema)


def _wanted(tables: Mapping[int, _Keyed], resources: Sequence[Touched]) -> set[int]:
    if any(isinstance(resource, Everything) for resource in resources):
        return set(tables)
    named = {(one.schema, one.name) for one in resources if isinstance(one, Table)}
    return {oid for oid, table in tables.items() if (table.schema, table.name) in named}


def _children_first(wanted: set[int], edges: Sequence[_Edge]) -> tuple[list[int], set[int]]:
    """Return tables in an order in which whoever refers to one comes before it, and those that have no such order."""
    order: list[int] = []
    left = set(wanted)
    while True:
        free = sorted(oid for oid in left if not any(e.parent == oid and e.child in left for e in edges))
        if not free:
            return order, left
        order += free
        left -= set(free)


def _delete(table: _Keyed, percent: float, edges: Sequence[_Edge]) -> str:
    unless = "".join(
        UNLESS.format(
            child=edge.child_sql,
            pairs=" AND ".join(
                f'"_lockstep_c".{by} = "_lockstep_t".{to}' for by, to in zip(edge.by, edge.to, strict=True)
            ),
        )
        for edge in edges
    )
    key = ", ".join(f'"_lockstep_t".{column}' for column in table.key)
    return DELETE.format(table=table.sql, key=key, threshold=round(1048576 * percent / 100), unless=unless)


@dataclass
class _Seen:
    first: float
    last: float
    statement: str


@dataclass
class _Watch:
    """A LockLog that a thread fills."""

    store: PostgresStore
    over: threading.Event = field(default_factory=threading.Event)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: dict[tuple[Any, ...], _Seen] = field(default_factory=dict)

    def look(self) -> None:
        while not self.over.wait(EVERY):
            try:
                with self.store.handle() as conn:
                    rows = conn.execute(HELD).fetchall()
            except LockstepError:
                continue  # a look that failed says nothing; the next one may
            now = time.monotonic()
            with self._lock:
                for pid, began, relation, mode, statement in rows:
                    seen = self._seen.setdefault((pid, began, relation, mode), _Seen(now, now, statement))
                    seen.last = now

    def held(self) -> list[HeldLock]:
        with self._lock:
            seen, self._seen = self._seen, {}
        found = [
            HeldLock(
                relation=relation,
                mode=mode,
                seconds=round(one.last - one.first, 3),
                statement=_short(one.statement),
                keeps_out=KEEPS_OUT[mode],
            )
            for (_, _, relation, mode), one in seen.items()
        ]
        found.sort(key=lambda lock: (-lock.seconds, lock.relation, lock.mode))
        return found[:MOST]


def _short(statement: str) -> str:
    flat = " ".join(statement.split())
    return flat if len(flat) <= SHOWN else flat[: SHOWN - 1] + "…"
