"""Foreign keys around tables that are restored: out of the way while rows come and go, and back before the end.

They are not to act: a row that is removed must not take rows of other tables along. Back in place each is checked
by one pass over its table.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from lockstep.stores.postgres.carry import ident, perform
from lockstep.stores.postgres.text import Conn, run

#: Foreign keys of and to these tables: which it is, from and to which table, and the statements that make it again.
FOREIGN_KEYS = """
SELECT f.conrelid::bigint, f.confrelid::bigint, f.conrelid::regclass::text, f.confrelid::regclass::text, f.conname,
       'ALTER TABLE ' || f.conrelid::regclass || ' ADD CONSTRAINT ' || quote_ident(f.conname) || ' '
       || pg_get_constraintdef(f.oid),
       'COMMENT ON CONSTRAINT ' || quote_ident(f.conname) || ' ON ' || f.conrelid::regclass || ' IS '
       || quote_literal(obj_description(f.oid, 'pg_constraint'))
FROM pg_constraint f
WHERE f.contype = 'f' AND f.conparentid = 0
  AND (f.conrelid = ANY(%(oids)s::oid[]) OR f.confrelid = ANY(%(oids)s::oid[]))
ORDER BY f.oid
"""


@dataclass(frozen=True, kw_only=True)
class _Key:
    #: the tables that it is of and refers to
    owner: str
    target: str
    name: str
    #: what makes it again; nothing where its table is made anew with it, or goes
    restore: tuple[str, ...]


class Keys:
    """The foreign keys that are in the way. The search path must be pinned, here and when they are restored.

    replaced, removed: tables that another takes the place of, or nothing. written: tables of which rows are
    written or removed. losing: those of which some row is removed, or made anew.
    """

    def __init__(
        self,
        conn: Conn,
        *,
        replaced: Collection[int],
        removed: Collection[int],
        written: Collection[int],
        losing: Collection[int],
    ) -> None:
        self._conn = conn
        self._keys = []
        every = [*replaced, *removed, *written]
        for of, to, owner, target, name, add, comment in run(conn, FOREIGN_KEYS, {"oids": every}).fetchall():
            ends = of in replaced or of in removed
            if not ends and to in removed:
                continue  # it holds the table, as the server will say
            if ends or of in written or to in replaced or to in losing:
                again = () if ends else tuple(filter(None, (add, comment)))
                self._keys.append(_Key(owner=owner, target=target, name=name, restore=again))

    @property
    def needed(self) -> bool:
        return bool(self._keys)

    @property
    def tables(self) -> list[str]:
        """The tables to be had exclusively, so that the keys can be dropped."""
        return [table for key in self._keys for table in (key.owner, key.target)]

    def drop(self) -> None:
        perform(
            self._conn, [f"ALTER TABLE {key.owner} DROP CONSTRAINT {ident(key.name)}" for key in self._keys]
        )

    def restore(self) -> None:
        """Make them again; a row that refers to nothing raises ForeignKeyViolation."""
        perform(self._conn, [statement for key in self._keys for statement in key.restore])
