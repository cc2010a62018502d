"""Look at a PostgreSQL database: its catalog and its statistics, in transactions that only read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lockstep.domain.errors import LockstepError
from lockstep.domain.looking import NOTHING, Right, Size, Space, Wish
from lockstep.domain.resources import Everything, Table, Touched
from lockstep.stores.postgres.programs import find_program
from lockstep.stores.postgres.schema import IS_THERE
from lockstep.stores.postgres.store import FACTS, PostgresStore
from lockstep.stores.postgres.text import Conn, one, run

#: Records and bytes of tables, partitions with their table; rows as the server counts, else as ANALYZE found. Nobody
#: knows the rows of a table that was never analyzed since the server lost its counts, unless it is empty.
SIZES = """
SELECT n.nspname, c.relname,
       sum(CASE WHEN s.n_live_tup > 0 THEN s.n_live_tup WHEN leaf.reltuples >= 0 THEN leaf.reltuples::bigint
                WHEN pg_relation_size(leaf.oid) = 0 THEN 0 END)::bigint,
       bool_or(coalesce(s.n_live_tup, 0) = 0 AND leaf.reltuples < 0 AND pg_relation_size(leaf.oid) > 0),
       sum(pg_total_relation_size(leaf.oid))::bigint
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
CROSS JOIN LATERAL (SELECT c.oid UNION SELECT relid FROM pg_partition_tree(c.oid) WHERE isleaf) AS part(oid)
JOIN pg_class leaf ON leaf.oid = part.oid AND leaf.relkind <> 'p'
LEFT JOIN pg_stat_user_tables s ON s.relid = leaf.oid
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND NOT starts_with(n.nspname, 'lockstep')
GROUP BY 1, 2
"""

#: Bytes of the database.
USED = "SELECT pg_database_size(current_database())"

#: What the login may do with each table that is there: own it, read it, write it; and whether it may add to the schema.
TABLE_RIGHTS = """
SELECT pg_has_role(c.relowner, 'USAGE'), has_table_privilege(c.oid, 'SELECT'),
       has_table_privilege(c.oid, 'INSERT') AND has_table_privilege(c.oid, 'UPDATE')
           AND has_table_privilege(c.oid, 'DELETE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = %(name)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
"""

#: Whether the login may add to a schema; nothing where there is none.
SCHEMA_RIGHTS = "SELECT has_schema_privilege(oid, 'CREATE') FROM pg_namespace WHERE nspname = %(schema)s"

#: Whether the login may make schemas, and use the one that is Lockstep's own if it is there.
DATABASE_RIGHTS = """
SELECT has_database_privilege(current_database(), 'CREATE'),
       (SELECT has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = 'lockstep_state')
"""

#: Whether the server takes writes at all.
STANDBY = "SELECT pg_is_in_recovery()"


class PostgresLooker:
    """A Looker of one database."""

    def __init__(self, store: PostgresStore) -> None:
        self._store = store
        self._connector = store._connector

    def facts(self) -> Mapping[str, str]:
        with self._connector.transaction(snapshot=True) as conn:
            version, dbname, user = one(conn, FACTS)
        return {"server": "PostgreSQL", "version": version, "database": dbname, "user": user}

    def sizes(self, touched: Sequence[Touched]) -> Mapping[str, Size]:
        with self._connector.transaction(snapshot=True) as conn:
            known = {
                (schema, name): Size(records=None if unknown else rows, bytes=size)
                for schema, name, rows, unknown, size in run(conn, SIZES)
            }
        found: dict[str, Size] = {}
        for one_ in touched:
            if isinstance(one_, Table):
                found[one_.slug] = known.get((one_.schema, one_.name), NOTHING)
            elif isinstance(one_, Everything):
                found[one_.slug] = sum(known.values(), NOTHING)
        return found

    def space(self) -> Space:
        with self._connector.transaction(snapshot=True) as conn:
            return Space(used=one(conn, USED)[0])

    def rights(self, wishes: Sequence[Wish]) -> list[Right]:
        with self._connector.transaction(snapshot=True) as conn:
            return [*_own_schema(conn), *(right for wish in wishes for right in _of(conn, wish))]

    def trouble(self) -> list[str]:
        found = []
        with self._connector.transaction(snapshot=True) as conn:
            version = one(conn, FACTS)[0]
            if one(conn, STANDBY)[0]:
                found.append(
                    f"{self._connector.address} is a standby, which takes no writes. Let the Airflow connection "
                    f"{self._connector.address.conn_id!r} lead to the primary."
                )
            number = conn.info.server_version
        for name in ("pg_dump", "pg_restore"):
            try:
                find_program(self._store._pg_bin, name).require(number, version, self._connector)
            except LockstepError as problem:
                found.append(str(problem))
        return found


def _own_schema(conn: Conn) -> Iterator[Right]:
    creates, uses = one(conn, DATABASE_RIGHTS)
    if one(conn, IS_THERE)[0]:
        yield Right(
            what="use of Lockstep's schema lockstep_state",
            granted=bool(uses),
            words="GRANT USAGE ON SCHEMA lockstep_state",
        )
    else:
        yield Right(
            what="CREATE on the database, for Lockstep's schema lockstep_state",
            granted=bool(creates),
            words="GRANT CREATE ON DATABASE",
        )


def _of(conn: Conn, wish: Wish) -> Iterator[Right]:
    """Return what a wish comes to; a table that is not there yet is one that the plan makes."""
    table = wish.touched
    if not isinstance(table, Table):
        return
    named: dict[str, Any] = {"schema": table.schema, "name": table.name}
    what = f"{wish.need} table {table.slug}"
    row = run(conn, TABLE_RIGHTS, named).fetchone()
    if wish.need == "create" or row is None:
        if wish.need in ("create", "own"):
            allowed = run(conn, SCHEMA_RIGHTS, named).fetchone()
            # A schema that is not there is for the plan to make.
            if allowed is not None:
                yield Right(
                    what=f"CREATE in schema {table.schema}",
                    granted=bool(allowed[0]),
                    words=f"GRANT CREATE ON SCHEMA {table.schema}",
                )
        return
    owns, reads, writes = row
    granted = {"own": owns, "read": reads, "write": writes}[wish.need]
    words = {
        "own": f"make the login a member of the role that owns {table.slug}",
        "read": f"GRANT SELECT ON {table.slug}",
        "write": f"GRANT INSERT, UPDATE, DELETE ON {table.slug}",
    }[wish.need]
    yield Right(what=what, granted=bool(granted), words=words)
