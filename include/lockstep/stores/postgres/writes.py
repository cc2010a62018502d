"""How many rows of each table were ever written, from the server's own statistics."""

from __future__ import annotations

from lockstep.domain.readiness import Writes
from lockstep.domain.resources import Everything, Table
from lockstep.stores.postgres.connect import Connector
from lockstep.stores.postgres.text import one, run

#: the server from which on a session can be told to report what it has counted
FLUSHES_SINCE = 150000

#: Let this session report what it wrote, which it would do a second later by itself.
FLUSH = "SELECT pg_stat_force_next_flush()"

#: Rows written, by table. The marks tell a count that began anew: another table of that name, a reset by hand, a
#: crash after which the server forgets all counts. Nothing where nobody counts.
COUNTED = """
SELECT s.schemaname, s.relname, s.n_tup_ins + s.n_tup_upd + s.n_tup_del,
       concat_ws('/', s.relid::text, d.stats_reset::text, pg_stat_get_bgwriter_stat_reset_time()::text)
FROM pg_stat_user_tables s JOIN pg_stat_database d ON d.datname = current_database()
WHERE current_setting('track_counts')::boolean
  AND s.schemaname NOT IN ('lockstep_state', 'lockstep_parked')
  AND (%(table)s::text IS NULL OR (s.schemaname, s.relname) = (%(schema)s, %(table)s))
"""

#: Whether the journal still holds what a step of a run overwrote or inserted.
JOURNALED = """
SELECT EXISTS (SELECT FROM lockstep_state.journal
               WHERE run_id = %(run_id)s AND step = %(step)s AND NOT taken_back)
"""


def writes(connector: Connector, touched: Table | Everything) -> dict[str, Writes]:
    """Return the counts of a table, or of every table, by slug; those that nobody counts are left out.

    Another session's last second may not be counted yet, and up to ten seconds of one that idles in a pooler.
    """
    with connector.transaction(pinned=False) as conn:
        if conn.info.server_version >= FLUSHES_SINCE:
            run(conn, FLUSH)
    table = touched if isinstance(touched, Table) else None
    params = {"schema": table.schema if table else None, "table": table.name if table else None}
    # Another transaction: what the one before reported is there when it has ended.
    with connector.transaction(pinned=False) as conn:
        found = run(conn, COUNTED, params).fetchall()
    return {
        name if schema == "public" else f"{schema}.{name}": Writes(rows=rows, mark=mark)
        for schema, name, rows, mark in found
    }


def journaled(connector: Connector, run_id: str, step: int) -> bool:
    """Tell whether the journal holds anything of a step that was not taken back."""
    with connector.transaction() as conn:
        return bool(one(conn, JOURNALED, {"run_id": run_id, "step": step})[0])
