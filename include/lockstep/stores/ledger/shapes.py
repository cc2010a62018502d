"""The shape that each database had when a run ended."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from lockstep.stores.ledger.connect import Db
from lockstep.stores.ledger.plain import dumps, utc

# The shape of a database at a run's end.
_SAVE = """
    INSERT INTO _migration_shapes (conn_id, run_id, shape) VALUES (%s, %s, %s::jsonb)
    ON CONFLICT (conn_id, run_id) DO UPDATE SET shape = excluded.shape, at = clock_timestamp()
"""
# The latest of each database.
_LATEST = """
    SELECT DISTINCT ON (conn_id) conn_id, run_id, at, shape FROM _migration_shapes
    ORDER BY conn_id, at DESC
"""


def save(db: Db, conn_id: str, run_id: str, shape: Mapping[str, str]) -> None:
    db.execute(_SAVE, [conn_id, run_id, dumps(shape)])


def latest(db: Db) -> dict[str, tuple[str, datetime, dict[str, str]]]:
    """Return connection id → (run, when, object → definition)."""
    return {row["conn_id"]: (row["run_id"], utc(row["at"]), row["shape"]) for row in db.execute(_LATEST)}
