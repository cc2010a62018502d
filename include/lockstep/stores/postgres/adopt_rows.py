"""Rows made what they are in a backup: those that differ are written, and no other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType

from lockstep.stores.postgres.adopt_table import Adopting
from lockstep.stores.postgres.carry import ident, perform
from lockstep.stores.postgres.schema import PARKED_COLUMN
from lockstep.stores.postgres.shape import Column, Shape
from lockstep.stores.postgres.swap_back import IN_FORCE
from lockstep.stores.postgres.text import Conn, listed, one, raw, run

#: Take the rows of the backup in, to compare them here.
STAGE = "CREATE TEMPORARY TABLE {stage} ON COMMIT DROP AS SELECT {columns} FROM {table} WITH NO DATA"
OUT = "COPY (SELECT {columns} FROM {table}) TO STDOUT"
INTO = "COPY {table} ({columns}) FROM STDIN"

#: Which rows differ, and how: those that the backup has not, those that are not here, those that hold other values.
#: Some of these are removed and made again: two may have to swap what must be unique. Writers are held off, so
#: that a row's place names it.
COMPARE = """
CREATE TEMPORARY TABLE {differing} ON COMMIT DROP AS
SELECT h.ctid AS here, h.tableoid AS part, s.ctid AS there,
       CASE WHEN s.ctid IS NULL THEN 'gone' WHEN h.ctid IS NULL THEN 'missing' WHEN {again} THEN 'again'
            ELSE 'other' END AS verdict
FROM {table} AS h FULL JOIN {stage} AS s ON {same_key}
WHERE h.ctid IS NULL OR s.ctid IS NULL OR {differs}
"""

#: How many there are of each.
COUNT = """
SELECT count(*) FILTER (WHERE verdict = 'gone'), count(*) FILTER (WHERE verdict = 'again'),
       count(*) FILTER (WHERE verdict = 'other'), count(*) FILTER (WHERE verdict = 'missing')
FROM {differing}
"""

REMOVE = """
DELETE FROM {table} AS t USING {differing} AS d
WHERE t.ctid = d.here AND t.tableoid = d.part AND d.verdict IN ('gone', 'again')
"""

CHANGE = """
UPDATE {table} AS t SET {sets} FROM {differing} AS d JOIN {stage} AS s ON s.ctid = d.there
WHERE t.ctid = d.here AND t.tableoid = d.part AND d.verdict = 'other'
"""

#: OVERRIDING: an identity column gets the value that it had.
INSERT = """
INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE
SELECT {values} FROM {stage} AS s JOIN {differing} AS d ON s.ctid = d.there
WHERE d.verdict IN ('missing', 'again')
"""

#: Columns that an UPDATE cannot set row by row: of a key or a unique index, what others refer to, an identity.
#: Of a generated one, those that it is made of are not told apart: its own name is enough to say so.
SPECIAL = """
SELECT a.attname, a.attgenerated <> '' FROM pg_attribute a
WHERE a.attrelid = %(oid)s::oid AND a.attnum > 0 AND NOT a.attisdropped AND (
    a.attidentity = 'a'
    OR EXISTS (
        SELECT FROM pg_index i WHERE i.indrelid = a.attrelid AND (i.indisunique OR i.indisexclusion)
        AND (a.attnum = ANY(i.indkey::int2[]) OR EXISTS (
            SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
            AND d.refclassid = 'pg_class'::regclass AND d.refobjid = a.attrelid AND d.refobjsubid = a.attnum)))
    OR EXISTS (SELECT FROM pg_constraint f
               WHERE f.contype = 'f' AND f.confrelid = a.attrelid AND a.attnum = ANY(f.confkey)))
"""

#: Parked columns and their types: they are carried where both have them.
PARKED = """
SELECT attname, format_type(atttypid, atttypmod) FROM pg_attribute
WHERE attrelid = %(oid)s::oid AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND starts_with(attname, %(p)s)
"""

NAME = "SELECT %(oid)s::oid::regclass::text"


@dataclass(frozen=True, kw_only=True)
class Difference:
    """What differs between a table and its backup, staged here; of a table without a key, all of it does."""

    adopting: Adopting
    shape: Shape
    stage: str
    differing: str
    #: columns that rows are made of, and those that an UPDATE sets; names
    columns: tuple[str, ...]
    settable: tuple[str, ...]
    gone: int
    again: int
    other: int
    missing: int

    @property
    def oids(self) -> tuple[int, ...]:
        return self.adopting.oids if self.any else ()

    @property
    def any(self) -> bool:
        return bool(self.gone or self.again or self.other or self.missing or not self.shape.key)

    @property
    def loses(self) -> bool:
        """Whether rows are removed, if only to be made again."""
        return bool(self.gone or self.again or not self.shape.key)


def stage(conn: Conn, there: Conn, adopting: Adopting, place: int) -> Difference:
    """Compare a table that has its shape with its backup; `place` tells its temporary tables from others."""
    shape, source = adopting.here, adopting.there
    assert shape is not None
    assert source is not None
    made_of = [column for column in shape.columns if not column.generated]
    known = set(run(there, PARKED, {"oid": source.oid, "p": PARKED_COLUMN}))
    parked = [row[0] for row in run(conn, PARKED, {"oid": shape.oid, "p": PARKED_COLUMN}) if row in known]
    columns = (*(column.name for column in made_of), *parked)
    names = {
        "stage": f'pg_temp."_lockstep_there_{place}"',
        "differing": f'pg_temp."_lockstep_unlike_{place}"',
    }
    if not shape.key:
        counts = (0, 0, 0, 0)
        settable: tuple[str, ...] = ()
    else:
        special = _special(conn, shape, made_of)
        settable = tuple(column.name for column in made_of if column.name not in special)
        _stage_rows(conn, there, shape, columns, names["stage"])
        again = [column for column in made_of if column.name in special]
        compare = COMPARE.format(
            again=_differ(again),
            differs=_differ(made_of),
            same_key=" AND ".join(f"h.{column.sql} = s.{column.sql}" for column in shape.key),
            table=shape.sql,
            **names,
        )
        run(conn, compare)
        run(conn, f"ANALYZE {names['differing']}")
        counts = one(conn, COUNT.format(**names))
    gone, anew, other, missing = counts
    return Difference(
        adopting=adopting,
        shape=shape,
        columns=columns,
        settable=settable,
        gone=gone,
        again=anew,
        other=other,
        missing=missing,
        **names,
    )


def _special(conn: Conn, shape: Shape, made_of: Sequence[Column]) -> set[str]:
    """Return the columns of which a difference makes a row be removed and made again."""
    found = run(conn, SPECIAL, {"oid": shape.oid}).fetchall()
    # A partition may be unique where the whole is not, and what is generated hangs on any other column.
    if shape.kind == "p" or any(generated for _, generated in found):
        return {column.name for column in made_of}
    return {name for name, _ in found}


def _differ(columns: Sequence[Column]) -> str:
    return " OR ".join(column.differs(f"h.{column.sql}", f"s.{column.sql}") for column in columns) or "false"


def _stage_rows(conn: Conn, there: Conn, shape: Shape, columns: Sequence[str], stage: str) -> None:
    names = listed(map(ident, columns))
    table = ident(shape.table.schema, shape.table.name)
    perform(conn, [STAGE.format(stage=stage, columns=names, table=table)])
    copy_over(conn, there, shape, columns, stage)
    perform(conn, [f"ANALYZE {stage}"])


def copy_over(conn: Conn, there: Conn, shape: Shape, columns: Sequence[str], into: str) -> int:
    """Copy all rows of the backup's table into one that is here, in bounded memory; return how many."""
    names = listed(map(ident, columns))
    table = ident(shape.table.schema, shape.table.name)
    with there.cursor() as reading, conn.cursor() as writing:
        with (
            reading.copy(raw(OUT.format(columns=names, table=table))) as rows,
            writing.copy(raw(INTO.format(columns=names, table=into))) as taking,
        ):
            for block in rows:
                taking.write(block)
        return writing.rowcount


def write_all(conn: Conn, there: Conn, differences: Sequence[Difference]) -> tuple[int, int]:
    """Write what differs; return how many rows were removed for good and how many written.

    All that goes goes first, and no foreign key is in force that would mind.
    """
    removed = written = 0
    for one_of in differences:
        if one_of.shape.key:
            if one_of.loses:
                run(conn, REMOVE.format(**_parts(one_of)))
            removed += one_of.gone
        else:
            removed += run(conn, f"DELETE FROM {one_of.shape.sql}").rowcount
    for one_of in differences:
        if not one_of.shape.key:
            table = ident(one_of.shape.table.schema, one_of.shape.table.name)
            written += copy_over(conn, there, one_of.shape, one_of.columns, table)
            continue
        if one_of.other:
            written += run(conn, CHANGE.format(**_parts(one_of))).rowcount
        if one_of.missing or one_of.again:
            written += run(conn, INSERT.format(**_parts(one_of))).rowcount
    return removed, written


def _parts(one_of: Difference) -> dict[str, str]:
    quoted = [ident(name).replace("%", "%%") for name in one_of.columns]
    sets = [ident(name).replace("%", "%%") for name in one_of.settable]
    return {
        "table": one_of.shape.sql,
        "stage": one_of.stage,
        "differing": one_of.differing,
        "columns": listed(quoted),
        "values": listed(f"s.{name}" for name in quoted),
        "sets": listed(f"{name} = s.{name}" for name in sets),
    }


class OutOfForce:
    """Triggers and rules of tables that nothing is to set off, for the length of a block that ends well."""

    def __init__(self, conn: Conn, oids: Sequence[int]) -> None:
        self._conn = conn
        self._oids = oids
        self._back: list[str] = []

    def __enter__(self) -> None:
        for oid in self._oids:
            name = one(self._conn, NAME, {"oid": oid})[0]
            for what, how in run(self._conn, IN_FORCE, {"oid": oid}).fetchall():
                perform(self._conn, [f"ALTER TABLE ONLY {name} DISABLE {what}"])
                self._back.append(f"ALTER TABLE ONLY {name} {how}{what}")

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            # What deferred checks left to the end of the transaction is in the way of ALTER TABLE.
            perform(self._conn, ["SET CONSTRAINTS ALL IMMEDIATE", *self._back])
