"""What is to become of each table that is restored: what it is here, and what it is in the backup."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from lockstep.domain.errors import Refused
from lockstep.domain.resources import Table
from lockstep.stores.postgres.connect import PIN, PIN_NAMES
from lockstep.stores.postgres.fingerprint import fingerprint, shape_items
from lockstep.stores.postgres.hanging import hangs
from lockstep.stores.postgres.shape import CHILDREN, Shape, shape_of
from lockstep.stores.postgres.text import Conn, one, run

#: The partitions of a partitioned table, and which rows each takes.
PARTITIONS = """
SELECT 'partition', c.oid::regclass::text, ARRAY[pg_get_expr(c.relpartbound, c.oid)]
FROM pg_partition_tree(%(oid)s::oid::regclass) AS p JOIN pg_class c ON c.oid = p.relid
WHERE p.relid <> %(oid)s::oid::regclass ORDER BY 2
"""

#: A table and its partitions.
TREE = """
SELECT %(oid)s::oid::bigint UNION SELECT relid::oid::bigint FROM pg_partition_tree(%(oid)s::oid::regclass)
"""


class Fate(Enum):
    """What becomes of a table."""

    SAME = "it is what it was"
    ROWS = "rows are written and removed"
    ANEW = "it is made anew"
    GONE = "it is removed"


@dataclass(frozen=True, kw_only=True)
class Adopting:
    """One table that is restored."""

    table: Table
    fate: Fate
    #: None where there is no such table
    here: Shape | None
    there: Shape | None
    #: the table that is here, and its partitions
    oids: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class _Face:
    shape: Shape
    items: list[Any]
    #: why no other table can take its place, in words that follow its name
    hangs: list[str]
    oids: tuple[int, ...]
    inherited: bool


def look(conn: Conn, there: Conn, table: Table) -> Adopting:
    """Compare a table with the one in the backup; Refused where it can be made neither the same nor anew."""
    now, then = _face(conn, table), _face(there, table)
    fate = _fate(conn, there, table, now, then)
    return Adopting(
        table=table,
        fate=fate,
        here=now.shape if now else None,
        there=then.shape if then else None,
        oids=now.oids if now else (),
    )


def _fate(conn: Conn, there: Conn, table: Table, now: _Face | None, then: _Face | None) -> Fate:
    for face, where in ((now, "here"), (then, "in the backup")):
        if face is not None and face.shape.kind not in ("r", "p"):
            raise _refused(table, [f"is no table {where}"])
    if then is None:
        return Fate.SAME if now is None else Fate.GONE
    if now is not None and now.items == then.items:
        if fingerprint(conn, table) == fingerprint(there, table):
            return Fate.SAME
        if now.inherited:
            raise _refused(
                table, ["has tables that inherit from it, so that its rows cannot be told from theirs"]
            )
        return Fate.ROWS
    others = [f"{reason} in the backup" for reason in then.hangs]
    # What depends on it in the backup, such as a view, is not made there: it was not asked for.
    reasons = [reason for reason in others if not reason.startswith("is what ")] + (now.hangs if now else [])
    if reasons:
        raise _refused(table, reasons)
    return Fate.ANEW


def _face(conn: Conn, table: Table) -> _Face | None:
    with conn.transaction(force_rollback=True):
        run(conn, PIN)
        run(conn, PIN_NAMES)
        shape = shape_of(conn, table)
        if shape is None:
            return None
        params = {"oid": shape.oid}
        return _Face(
            shape=shape,
            items=[*shape_items(conn, shape), *run(conn, PARTITIONS, params).fetchall()],
            hangs=hangs(conn, shape.oid),
            oids=tuple(oid for (oid,) in run(conn, TREE, params)),
            inherited=shape.kind == "r" and one(conn, CHILDREN, params)[0],
        )


def refuse_unequal(conn: Conn, there: Conn, changed: Sequence[Adopting]) -> None:
    """Raise Refused where a table is not made as it is in the backup: the last look, before the commit."""
    for adopting in changed:
        now, then = _face(conn, adopting.table), _face(there, adopting.table)
        ours, theirs = (_told(face) for face in (now, then))
        unlike = sorted(name for name in {*ours, *theirs} if ours.get(name) != theirs.get(name))
        if unlike:
            raise Refused(
                f"{adopting.table} cannot be restored in place: {', '.join(unlike)} would not be what it was. "
                "Nothing was changed. Restore the backup into another database, or by hand.",
                table=adopting.table.slug,
                differences=tuple(unlike),
            )


def _told(face: _Face | None) -> dict[str, Any]:
    return {} if face is None else {f"{kind} {name}".strip(): facts for kind, name, facts in face.items}


def _refused(table: Table, reasons: Sequence[str]) -> Refused:
    return Refused(
        f"{table} cannot be restored in place: it {'; it '.join(reasons)}. Nothing was changed. Take that away and "
        "try again, or restore the backup into another database.",
        table=table.slug,
        reasons=tuple(reasons),
    )
