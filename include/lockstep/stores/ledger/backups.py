"""Backups: the manifests of a run, and whether they were proven."""

from __future__ import annotations

from lockstep.domain.progress import Manifest
from lockstep.stores.ledger.connect import Db
from lockstep.stores.ledger.plain import dumps
from lockstep.stores.ledger.rows import manifest_json, manifest_of

# A backup as it is now: one taken again is unproven again.
_SAVE = """
    INSERT INTO _migration_backups (run_id, path, conn_id, manifest, proven)
    VALUES (%s, %s, %s, %s::jsonb, %s)
    ON CONFLICT (run_id, path) DO UPDATE SET
        conn_id = excluded.conn_id, manifest = excluded.manifest, proven = excluded.proven,
        saved_at = clock_timestamp()
"""
# The backups of a run.
_READ = "SELECT manifest FROM _migration_backups WHERE run_id = %s ORDER BY conn_id, path"


def save(db: Db, manifest: Manifest, proven: bool) -> None:
    values = [manifest.run_id, manifest.path, manifest.conn_id, dumps(manifest_json(manifest)), proven]
    db.execute(_SAVE, values)


def read(db: Db, run_id: str) -> list[Manifest]:
    return [manifest_of(row["manifest"]) for row in db.execute(_READ, [run_id])]
