"""Backups: their manifests, how they were proven, and which are still there."""

from __future__ import annotations

from lockstep.domain.backups import Proof, StoredBackup
from lockstep.domain.errors import Refused, StaleEpoch
from lockstep.domain.progress import Manifest
from lockstep.stores.ledger.connect import Db
from lockstep.stores.ledger.plain import dumps, error_text
from lockstep.stores.ledger.rows import backup_of, manifest_json, manifest_of

# Whether all backups of the run are proven. Its row is locked: the one who opens the way to the data changes it,
# and a backup saved before that is seen there, one saved after it is refused.
_GATE = "SELECT backed_up FROM _migration_runs WHERE id = %s FOR UPDATE"
# An attempt of before, which this one replaces: each writes to a folder of its own.
_REPLACE = (
    "DELETE FROM _migration_backups WHERE run_id = %(run)s AND conn_id = %(conn_id)s AND path <> %(path)s"
)
# A backup as it is now: one taken again is unproven again.
_SAVE = """
    INSERT INTO _migration_backups (run_id, path, conn_id, manifest, proof, proven_at)
    VALUES (%(run)s, %(path)s, %(conn_id)s, %(manifest)s::jsonb, %(proof)s,
            CASE WHEN %(proof)s::text IS NOT NULL THEN clock_timestamp() END)
    ON CONFLICT (run_id, path) DO UPDATE SET
        conn_id = excluded.conn_id, manifest = excluded.manifest, proof = excluded.proof,
        proven_at = excluded.proven_at, checked_at = NULL, problem = NULL, removed_at = NULL,
        saved_at = clock_timestamp()
"""
# The backups of a run.
_READ = "SELECT manifest FROM _migration_backups WHERE run_id = %s ORDER BY conn_id, path"
# Backups with what their runs came to, latest first; the list of a backup's files may be left where it is.
_LISTED = """
    SELECT CASE WHEN %(files)s THEN b.manifest ELSE b.manifest || '{"files": []}' END AS manifest,
           b.saved_at, b.proof, b.proven_at, b.checked_at, b.problem, b.removed_at,
           r.revision, r.direction, r.status
    FROM _migration_backups b JOIN _migration_runs r ON r.id = b.run_id
    WHERE (%(conn_id)s::text IS NULL OR b.conn_id = %(conn_id)s)
      AND (%(revision)s::text IS NULL OR r.revision = %(revision)s)
      AND (%(run)s::text IS NULL OR b.run_id = %(run)s)
      AND (%(removed)s OR b.removed_at IS NULL)
    ORDER BY b.saved_at DESC, b.path LIMIT %(limit)s
"""
# Somebody read it, and found something or nothing.
_CHECKED = """
    UPDATE _migration_backups SET checked_at = clock_timestamp(), problem = %(problem)s
    WHERE run_id = %(run)s AND path = %(path)s
"""
# Its files are gone.
_REMOVED = """
    UPDATE _migration_backups SET removed_at = coalesce(removed_at, clock_timestamp())
    WHERE run_id = %(run)s AND path = %(path)s
"""


def save(db: Db, manifest: Manifest, proof: Proof | None) -> None:
    values = {
        "run": manifest.run_id,
        "path": manifest.path,
        "conn_id": manifest.conn_id,
        "manifest": dumps(manifest_json(manifest)),
        "proof": None if proof is None else proof.value,
    }
    gate = db.execute(_GATE, [manifest.run_id]).fetchone()
    if gate is not None and gate["backed_up"]:
        raise StaleEpoch(
            f"the backups of run {manifest.run_id} are proven already, and {manifest.path} is none of them: another "
            "attempt has taken over. Nothing is to be done here.",
            run=manifest.run_id,
            path=manifest.path,
        )
    db.execute(_REPLACE, values)
    db.execute(_SAVE, values)


def read(db: Db, run_id: str) -> list[Manifest]:
    return [manifest_of(row["manifest"]) for row in db.execute(_READ, [run_id])]


def listed(
    db: Db,
    *,
    conn_id: str | None,
    revision: str | None,
    run_id: str | None,
    removed: bool,
    limit: int,
    files: bool,
) -> list[StoredBackup]:
    values = {"conn_id": conn_id, "revision": revision, "run": run_id, "removed": removed, "limit": limit}
    values["files"] = files
    return [backup_of(row) for row in db.execute(_LISTED, values)]


def checked(db: Db, manifest: Manifest, problem: str | None) -> None:
    values = {"run": manifest.run_id, "path": manifest.path, "problem": error_text(problem)}
    _one(db.execute(_CHECKED, values).rowcount, manifest)


def removed(db: Db, manifest: Manifest) -> None:
    _one(db.execute(_REMOVED, {"run": manifest.run_id, "path": manifest.path}).rowcount, manifest)


def _one(found: int, manifest: Manifest) -> None:
    if found != 1:
        raise Refused(
            f"the ledger knows no backup {manifest.path} of run {manifest.run_id}. Save it first.",
            run=manifest.run_id,
            path=manifest.path,
        )
