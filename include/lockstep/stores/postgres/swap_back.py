"""The way back of a table that was written anew: the old one takes its place, and rows that came since stay."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lockstep.domain.errors import ConflictError, DataError, Refused
from lockstep.domain.resources import Table
from lockstep.stores.postgres import carry
from lockstep.stores.postgres.carry import ident, perform, pinned
from lockstep.stores.postgres.hanging import CLEAR, refuse_unknown
from lockstep.stores.postgres.park import COMPANIONS, TAKEN, move_home, require_parked
from lockstep.stores.postgres.portrait import OWN, differences, portrait
from lockstep.stores.postgres.rewrite import check_now, drops, exclusively, go_on, refuse_difference
from lockstep.stores.postgres.schema import PARKED
from lockstep.stores.postgres.shape import Shape, keyed
from lockstep.stores.postgres.text import Conn, given, listed, one, quote, run

#: how many keys of rows that were changed since are named; they are counted to the last
NAMED = 100

#: Rows that still are those of the swap, by the transaction that wrote them; and all.
UNTOUCHED = "SELECT count(*) FILTER (WHERE xmin = %(xid)s::xid), count(*) FROM {table}"

#: Keys of rows that are not as the swap left them: what it would write now, against what is there. A row that
#: was changed and put back exactly, by the undo of a later step, is as it was left.
CHANGED = """
CREATE TEMPORARY TABLE "_lockstep_changed" ON COMMIT DROP AS
WITH "_lockstep_left" AS (SELECT {left} FROM {parked} AS {name}),
     "_lockstep_now" AS (SELECT xmin AS "_lockstep_xmin", {columns} FROM {table})
SELECT {keys} FROM "_lockstep_now" AS n FULL JOIN "_lockstep_left" AS l ON {same}
WHERE n.{key} IS NULL OR l.{key} IS NULL OR (n."_lockstep_xmin" <> {xid}::xid AND ({differs}))
"""

#: Some of them, and how many they are.
NAMES = """
SELECT ARRAY(SELECT concat_ws(', ', {texts}) FROM "_lockstep_changed" ORDER BY {key} LIMIT %(most)s),
       (SELECT count(*) FROM "_lockstep_changed")
"""

#: Rows that came or were changed since replace those of the old table, and those that went go there too.
FORGET = 'DELETE FROM {parked} AS p USING "_lockstep_changed" AS c WHERE {same}'
TAKE_OVER = """
INSERT INTO {parked} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {values} FROM {table} AS t JOIN "_lockstep_changed" AS c ON {same}
"""

#: Triggers and rules that are in force on the old table, and how each is put out of force and back in.
IN_FORCE = """
SELECT 'TRIGGER ' || quote_ident(tgname),
       CASE tgenabled WHEN 'R' THEN 'ENABLE REPLICA ' WHEN 'A' THEN 'ENABLE ALWAYS ' ELSE 'ENABLE ' END
FROM pg_trigger WHERE tgrelid = %(oid)s::oid AND NOT tgisinternal AND tgenabled <> 'D'
UNION ALL
SELECT 'RULE ' || quote_ident(rulename),
       CASE ev_enabled WHEN 'R' THEN 'ENABLE REPLICA ' WHEN 'A' THEN 'ENABLE ALWAYS ' ELSE 'ENABLE ' END
FROM pg_rewrite WHERE ev_class = %(oid)s::oid AND ev_enabled <> 'D'
"""

OID = "SELECT %(name)s::regclass::oid::bigint"


def swap_back(
    conn: Conn, table: Table, before: Mapping[str, Any], *, strict: bool
) -> tuple[int, tuple[str, ...]]:
    """Give the parked table its place back; return how many rows are as they were, and the keys of others.

    A row that came or was changed since is kept as it is, and one that was deleted stays deleted; with
    `strict` ConflictError is raised instead. Raises Refused where the table itself was changed since.
    """
    require_parked(conn, table, before["parked"])
    if not one(conn, TAKEN, {"schema": table.schema, "name": table.name})[0]:
        raise DataError(
            f"{table} is gone, so that the parked one ({PARKED}.{before['parked']}) cannot be swapped back for it. "
            "Restore the table from the run's backup.",
            table=table.slug,
        )
    return _SwapBack(conn, table, keyed(conn, table), before).run(strict)


class _SwapBack:
    def __init__(self, conn: Conn, table: Table, shape: Shape, before: Mapping[str, Any]) -> None:
        self._conn = conn
        self._table = table
        self._shape = shape
        self._before = before
        self._told: Mapping[str, Any] = before["rewritten"]
        self._params = {"oid": shape.oid}

    def run(self, strict: bool) -> tuple[int, tuple[str, ...]]:
        conn, told = self._conn, self._told
        with pinned(conn):
            incoming = carry.foreign_keys(conn, self._shape.oid, incoming=True)
            check_now(conn, self._table, incoming)
            views = run(conn, carry.VIEWS, self._params).fetchall()
            here = ident(self._table.schema, self._table.name)
            exclusively(conn, [lock for _, lock, _ in views], [here, *(key.owner for key in incoming)])
            refuse_unknown(conn, self._shape, CLEAR)
            was = portrait(conn, self._shape.oid)
        self._refuse_altered(differences(told["portrait"], was, OWN))
        found, count = self._changed(strict)
        with pinned(conn):
            if found:
                self._keep()
            self._swap()
            there = one(conn, OID, {"name": ident(self._table.schema, self._table.name)})[0]
            refuse_difference(self._table, differences(was, portrait(conn, there)))
        return max(0, told["rows"] - count), found

    def _refuse_altered(self, found: Sequence[str]) -> None:
        if found:
            raise Refused(
                f"{self._table} was altered since it was swapped, and the parked one ({PARKED}."
                f"{self._before['parked']}) knows nothing of it: {'; '.join(found)}. Take it away, then clear the "
                "failed task.",
                table=self._table.slug,
                differences=tuple(found),
            )

    def _changed(self, strict: bool) -> tuple[tuple[str, ...], int]:
        """Return rows that are not as the swap left them, and how many; with `strict` raise ConflictError."""
        conn, told, shape = self._conn, self._told, self._shape
        same, every = one(conn, UNTOUCHED.format(table=shape.sql), {"xid": told["xid"] or "0"})
        if same == every == told["rows"]:
            return (), 0
        names = self._columns()
        declared = {column.name: column.declared.replace("%", "%%") for column in shape.columns}
        left = listed(
            f"CAST({given(told['set'][name])} AS {declared[name]}) AS {quote(name)}"
            if name in told["set"]
            else quote(name)
            for name in names
        )
        key = shape.key[0].sql
        statement = CHANGED.format(
            left=left,
            parked=quote(PARKED, self._before["parked"]),
            name=quote(self._table.name),
            columns=listed(map(quote, names)),
            table=shape.sql,
            keys=listed(f"coalesce(n.{column.sql}, l.{column.sql}) AS {column.sql}" for column in shape.key),
            same=self._same("n", "l"),
            key=key,
            xid=f"'{int(told['xid'] or 0)}'",
            differs=" OR ".join(
                f"n.{quote(name)}::text IS DISTINCT FROM l.{quote(name)}::text" for name in names
            ),
        )
        run(conn, 'DROP TABLE IF EXISTS pg_temp."_lockstep_changed"')
        run(conn, statement)
        texts = listed(column.text() for column in shape.key)
        keys, count = one(conn, NAMES.format(texts=texts, key=shape.key_list), {"most": NAMED})
        found = tuple(keys) + ((f"and {count - len(keys)} more",) if count > len(keys) else ())
        if found and strict:
            raise ConflictError(
                resource=str(self._table), keys=found, doing="its old table was to be swapped back"
            )
        return found, count

    def _keep(self) -> None:
        """Bring the old table to where the rows that were changed since are, past its triggers and rules."""
        conn, parked = self._conn, quote(PARKED, self._before["parked"])
        there = ident(PARKED, self._before["parked"])
        oid = one(conn, OID, {"name": there})[0]
        in_force = run(conn, IN_FORCE, {"oid": oid}).fetchall()
        perform(conn, [f"ALTER TABLE {there} DISABLE {what}" for what, _ in in_force])
        names = self._columns()
        run(conn, FORGET.format(parked=parked, same=self._same("p", "c")))
        take_over = TAKE_OVER.format(
            parked=parked,
            columns=listed(map(quote, names)),
            values=listed(f"t.{quote(name)}" for name in names),
            table=self._shape.sql,
            same=self._same("t", "c"),
        )
        run(conn, take_over)
        # What they left to check at the end of the transaction is in the way of what comes next.
        perform(conn, ["SET CONSTRAINTS ALL IMMEDIATE"])
        perform(conn, [f"ALTER TABLE {there} {how}{what}" for what, how in in_force])

    def _swap(self) -> None:
        conn, told, schema = self._conn, self._told, self._table.schema
        here, aside = ident(schema, self._table.name), f"_lockstep_{self._shape.oid}"
        incoming = carry.foreign_keys(conn, self._shape.oid, incoming=True)
        own = carry.foreign_keys(conn, self._shape.oid, incoming=False)
        views = run(conn, carry.VIEWS, self._params).fetchall()
        publications = run(conn, carry.PUBLICATIONS, self._params).fetchall()
        perform(conn, drops([*incoming, *own]))
        perform(conn, [leave for leave, _ in publications])
        shared = {name for _, name, _ in told["own"]}
        for place, (kind, name) in enumerate(run(conn, COMPANIONS, self._params).fetchall()):
            if name not in shared:
                what = "SEQUENCE" if kind == "S" else "INDEX"
                perform(conn, [f"ALTER {what} {ident(schema, name)} RENAME TO {ident(f'{aside}_{place}')}"])
        sequences = run(conn, carry.SEQUENCES, self._params)
        now = {column: name for column, name, _, kind, _ in sequences if kind == "i"}
        perform(conn, [f"DROP STATISTICS {ident(space, name)}" for space, name, _ in told["statistics"]])
        perform(conn, [f"ALTER TABLE {here} RENAME TO {ident(aside)}"])
        move_home(conn, self._table, self._before)
        for column, name, _ in told["identity"]:
            go_on(conn, schema, name, now[column])
        for column, name, default in told["own"]:
            perform(conn, [f"ALTER SEQUENCE {ident(schema, name)} OWNED BY {here}.{ident(column)}"])
            perform(conn, [default] if default is not None else [])
        for space, name, there in told["statistics"]:
            perform(
                conn,
                [
                    f"ALTER STATISTICS {ident(PARKED, there)} SET SCHEMA {ident(space)}",
                    f"ALTER STATISTICS {ident(space, there)} RENAME TO {ident(name)}",
                ],
            )
        perform(conn, told["foreign_keys"])
        perform(conn, [text for _, _, text in views])
        perform(conn, [statement for key in incoming for statement in key.restore])
        perform(conn, [join for _, join in publications])
        # Not CASCADE: whatever still hangs on it is named by the server, and all of this is undone.
        perform(conn, [f"DROP TABLE {ident(schema, aside)}"])

    def _columns(self) -> list[str]:
        return [name for (name,) in run(self._conn, carry.COLUMNS, self._params)]

    def _same(self, left: str, right: str) -> str:
        return " AND ".join(f"{left}.{c.sql} = {right}.{c.sql}" for c in self._shape.key)
