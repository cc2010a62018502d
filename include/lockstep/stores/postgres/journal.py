"""How the journal is written: the before-image of a row, in the transaction that changes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lockstep.domain.resources import Table
from lockstep.stores.postgres.shape import Column
from lockstep.stores.postgres.text import Conn, listed

#: the server that can return a row as it was before an UPDATE: there no row has to be read, locked and joined
#: first to have its image
RETURNS_OLD_SINCE = 180000

#: File what `"_lockstep_new"` returns; rows that came out as they went in are no record.
FILE_ROWS = """
INSERT INTO lockstep_state.journal (run_id, step, shard, kind, schema_name, table_name, key, before, after)
SELECT %(j_run)s, %(j_step)s, %(j_shard)s, %(j_kind)s, %(j_schema)s, %(j_table)s, key, before, after
FROM "_lockstep_new" WHERE before IS DISTINCT FROM after
"""

#: File one thing that is parked.
FILE_PARKED = """
INSERT INTO lockstep_state.journal (run_id, step, shard, kind, schema_name, table_name, before)
VALUES (%(j_run)s, %(j_step)s, %(j_shard)s, %(j_kind)s, %(j_schema)s, %(j_table)s, %(before)s)
"""


@dataclass(frozen=True, kw_only=True)
class Filing:
    """What journal entries are filed under."""

    run_id: str
    step: int
    shard: int

    def params(self, kind: str, table: Table) -> Mapping[str, Any]:
        return {
            "j_run": self.run_id,
            "j_step": self.step,
            "j_shard": self.shard,
            "j_kind": kind,
            "j_schema": table.schema,
            "j_table": table.name,
        }


def returns_old(conn: Conn) -> bool:
    """Whether `RETURNING WITH (OLD AS …)` is known here."""
    return conn.info.server_version >= RETURNS_OLD_SINCE


def image(columns: Sequence[Column], alias: str = "") -> str:
    """Return the expression of a row's image: column to text form. Its parameter is %(image)s, the names.

    jsonb_object over arrays, because jsonb_build_object takes no more than fifty pairs.
    """
    texts = listed(column.text(alias) for column in columns)
    return f"jsonb_object(%(image)s::text[], ARRAY[{texts}]::text[])"


def key_image(columns: Sequence[Column], alias: str = "") -> str:
    """Return the expression of a key as the journal keeps it: an array of text forms."""
    return f"to_jsonb(ARRAY[{listed(column.text(alias) for column in columns)}])"
