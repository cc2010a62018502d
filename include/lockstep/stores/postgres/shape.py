"""What a table looks like: its columns, their types, its key."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from lockstep.domain.errors import DataError
from lockstep.domain.resources import Table
from lockstep.stores.postgres.schema import PARKED_COLUMN
from lockstep.stores.postgres.text import Conn, listed, quote, run

#: types whose equality is identity, so that `=` says what comparing text forms would, at less cost
_EXACT = {"bool", "int2", "int4", "int8", "oid", "text", "varchar", "char", "bytea", "uuid"}
_EXACT |= {"date", "timestamp", "timestamptz", "macaddr"}
#: types that psycopg reads as something whose str() is the text form
_READ_AS_TEXT = frozenset(("text", "varchar", "int2", "int4", "int8", "uuid"))

#: A table's columns in their order, and each one's place in the primary key; parked columns left out.
COLUMNS = """
SELECT c.oid::bigint, c.relkind::text, a.attname,
       quote_ident(tn.nspname) || '.' || quote_ident(t.typname) AS type,
       format_type(a.atttypid, a.atttypmod) AS declared,
       a.attnotnull, d.oid IS NOT NULL AND a.attgenerated = '', a.attidentity::text, a.attgenerated::text,
       base.typname, elem.typname, coalesce(l.collisdeterministic, true), base.typtype = 'e',
       array_position(i.indkey::int2[], a.attnum)
FROM pg_class c
JOIN pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
     AND NOT starts_with(a.attname, %(parked)s)
LEFT JOIN pg_type t ON t.oid = a.atttypid
LEFT JOIN pg_namespace tn ON tn.oid = t.typnamespace
LEFT JOIN pg_type base ON base.oid = CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.oid END
LEFT JOIN pg_type elem ON elem.oid = base.typelem AND base.typcategory = 'A'
LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
LEFT JOIN pg_collation l ON l.oid = a.attcollation
LEFT JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary
WHERE n.nspname = %(schema)s AND c.relname = %(name)s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
ORDER BY a.attnum
"""

#: Every table that is nobody's partition and not Lockstep's own or the system's.
TABLES = """
SELECT n.nspname, c.relname
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relpersistence <> 't'
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
  AND NOT starts_with(n.nspname, 'lockstep') AND NOT starts_with(n.nspname, '_lockstep')
  AND NOT starts_with(c.relname, 'lockstep') AND NOT starts_with(c.relname, '_lockstep')
  AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid
                  AND d.deptype = 'e')
ORDER BY 1, 2
"""

#: Whether other tables inherit from one that is not partitioned.
CHILDREN = "SELECT EXISTS (SELECT FROM pg_inherits WHERE inhparent = %(oid)s::oid)"

_KINDS = {"v": "a view", "m": "a materialized view", "f": "a foreign table"}


@dataclass(frozen=True, kw_only=True)
class Column:
    name: str
    #: qualified and without length or precision, so that a cast to it never truncates
    type: str
    #: as the table declares it, for people
    declared: str
    not_null: bool
    default: bool
    #: "" for none, "a" for always, "d" for by default
    identity: str
    generated: str
    base: str
    #: the type of an array's elements
    element: str | None
    #: equality says what comparing text forms would
    exact: bool

    @property
    def sql(self) -> str:
        return quote(self.name)

    @property
    def fills_itself(self) -> bool:
        """Whether a row that leaves it out gets a value."""
        return self.default or bool(self.identity) or bool(self.generated)

    @property
    def read_as_text(self) -> bool:
        return self.base in _READ_AS_TEXT

    def text(self, alias: str = "") -> str:
        """Return the expression of its text form."""
        return f"{alias}{self.sql}::text"

    def cast(self, expression: str) -> str:
        return f"CAST({expression} AS {self.type})"

    def differs(self, left: str, right: str) -> str:
        """Return the condition that two values of it are not the same, to the last digit."""
        if self.exact:
            return f"{left} IS DISTINCT FROM {right}"
        return f"{left}::text IS DISTINCT FROM {right}::text"


@dataclass(frozen=True, kw_only=True)
class Shape:
    table: Table
    oid: int
    #: pg_class.relkind
    kind: str
    columns: tuple[Column, ...]
    key: tuple[Column, ...]

    @property
    def sql(self) -> str:
        return quote(self.table.schema, self.table.name)

    @property
    def key_list(self) -> str:
        return listed(column.sql for column in self.key)

    def column(self, name: str) -> Column:
        """Return a column; DataError with a close name where there is none."""
        for column in self.columns:
            if column.name == name:
                return column
        raise DataError(
            f"{self.table} has no column {name!r}.{meant(name, (c.name for c in self.columns))}",
            table=self.table.slug,
            column=name,
        )

    def writable(self, name: str) -> Column:
        """Return a column that may be assigned; DataError for a key or generated column."""
        column = self.column(name)
        if column.generated:
            raise DataError(
                f"{self.table}: column {name!r} is generated by the server. Assign the columns that it is "
                "made from.",
                table=self.table.slug,
                column=name,
            )
        if column in self.key:
            raise DataError(
                f"{self.table}: column {name!r} is part of the primary key, which must not change. "
                "Insert rows under the new keys instead.",
                table=self.table.slug,
                column=name,
            )
        return column

    def chosen(self, names: Sequence[str] | None) -> tuple[Column, ...]:
        """Return the key and the named columns (all with None), each once, in the table's order."""
        if names is None:
            return self.columns
        wanted = {self.column(name) for name in names} | set(self.key)
        return tuple(column for column in self.columns if column in wanted)


def meant(name: str, names: Iterable[str]) -> str:
    """Return a hint at the closest of the names."""
    close = get_close_matches(name, list(names), 1, 0.6)
    return f" Did you mean {close[0]!r}?" if close else ""


def shape_of(conn: Conn, table: Table) -> Shape | None:
    """Return what the table looks like, or None where it does not exist."""
    params = {"schema": table.schema, "name": table.name, "parked": PARKED_COLUMN}
    rows = run(conn, COLUMNS, params).fetchall()
    if not rows:
        return None
    columns, places = [], {}
    for _, _, name, kind, declared, not_null, default, identity, generated, *more, place in rows:
        if name is None:  # a table without columns
            continue
        base, element, deterministic, is_enum = more
        columns.append(
            Column(
                name=name,
                type=kind.replace("%", "%%"),
                declared=declared,
                not_null=not_null,
                default=default,
                identity=identity,
                generated=generated,
                base=base,
                element=element,
                exact=deterministic and (base in _EXACT or is_enum),
            )
        )
        if place is not None:
            places[place] = columns[-1]
    key = tuple(places[place] for place in sorted(places))
    return Shape(table=table, oid=rows[0][0], kind=rows[0][1], columns=tuple(columns), key=key)


def all_tables(conn: Conn) -> list[tuple[str, str]]:
    """Return (schema, name) of every table that is not Lockstep's own or the system's."""
    return [(schema, name) for schema, name in run(conn, TABLES)]


def existing(conn: Conn, table: Table) -> Shape:
    """Return what the table looks like; DataError with a close name where it does not exist."""
    shape = shape_of(conn, table)
    if shape is None:
        there = [name if schema == "public" else f"{schema}.{name}" for schema, name in all_tables(conn)]
        raise DataError(
            f"{table} does not exist.{meant(table.slug, there)} Create it in a revision before this one, "
            "or mend its name in resources.py.",
            table=table.slug,
        )
    return shape


def keyed(conn: Conn, table: Table) -> Shape:
    """Return what a table with a primary key looks like; DataError, with the reason, for any other."""
    shape = existing(conn, table)
    reason = fix = None
    if shape.kind in _KINDS:
        reason = f"is {_KINDS[shape.kind]}, and batches need a table"
        fix = "Name the table behind it."
    elif shape.kind == "r" and run(conn, CHILDREN, {"oid": shape.oid}).fetchone() == (True,):
        reason = "has tables that inherit from it, so that its key is not unique"
        fix = "Use ops.sql on it."
    elif not shape.key:
        reason = "has no primary key, so that its rows cannot be told apart"
        fix = "Add one (ALTER TABLE … ADD PRIMARY KEY) in a revision before this one, or use ops.sql."
    if reason:
        raise DataError(f"{table} {reason}. {fix}", table=table.slug, reason=reason)
    return shape
