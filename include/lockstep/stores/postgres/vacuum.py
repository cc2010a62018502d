"""Let the space of dead rows be used again while batches make more of them."""

from __future__ import annotations

import psycopg

from lockstep.domain.resources import Table
from lockstep.stores.postgres.connect import Connector
from lockstep.stores.postgres.errors import translated
from lockstep.stores.postgres.text import quote, raw

#: It gives way where the table is not free, and never waits to cut off its end: that takes ACCESS EXCLUSIVE.
#: One process: workers of its own are for indexes, and would take the cores from the batches.
VACUUM = "VACUUM (SKIP_LOCKED, TRUNCATE false, PARALLEL 0) {table}"


def vacuum(connector: Connector, table: Table) -> bool:
    """Vacuum a table; False where somebody else has it, or the role may not: PostgreSQL only warns then."""
    warnings: list[str] = []

    def heard(notice: psycopg.errors.Diagnostic) -> None:
        if notice.severity_nonlocalized == "WARNING":
            warnings.append(notice.message_primary or "")

    conn = connector.open()
    try:
        with translated(connector.address):
            conn.autocommit = True
            conn.add_notice_handler(heard)
            conn.execute(raw(VACUUM.format(table=quote(table.schema, table.name))), {})
    finally:
        conn.close()
    return not warnings
