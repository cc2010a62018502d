"""Find an earlier backup of a database that still holds all that would be backed up."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timezone

from lockstep.domain.progress import Fingerprint, Manifest
from lockstep.domain.resources import Database
from lockstep.domain.run import Run
from lockstep.engine.services import Services


def earlier_backup(
    services: Services, database: Database, run: Run, now: Mapping[str, Fingerprint]
) -> Manifest | None:
    """Return the latest proven backup of another run in which every resource has the fingerprint it has now.

    None where there is none, or where somebody found last time that it could not be read.
    """
    for stored in services.ledger.stored_backups(conn_id=database.conn_id, files=False):
        manifest = stored.manifest
        if stored.proof is None or stored.problem or manifest.run_id == run.id:
            continue
        if manifest.kind != database.kind or not now:
            continue
        if all(manifest.fingerprints.get(slug) == held for slug, held in now.items()):
            # Listed without its files, which may be many.
            whole = services.ledger.backups(manifest.run_id)
            return next(one for one in whole if one.path == manifest.path)
    return None


def manifest_again(earlier: Manifest, run: Run, path: str, now: Mapping[str, Fingerprint]) -> Manifest:
    """Return the manifest of a backup whose files are those of an earlier one."""
    return Manifest(
        run_id=run.id,
        conn_id=earlier.conn_id,
        kind=earlier.kind,
        path=path,
        taken_at=datetime.now(timezone.utc),
        files=earlier.files,
        fingerprints=dict(now),
        made_by=dict(earlier.made_by),
        consistency=(
            f"nothing has changed since the backup of run {earlier.run_id} "
            f"({earlier.taken_at:%Y-%m-%d %H:%M} UTC), whose files are used again: {earlier.consistency}"
        ),
        # What the earlier one had from another one, too: the files are where they were first written.
        reuses={slug: earlier.reuses.get(slug, earlier.path) for slug in now},
    )
