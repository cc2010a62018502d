"""Back up what a revision touches, and prove it, before anything else."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any, cast

from lockstep.domain.backups import Proof
from lockstep.domain.errors import BackupNotProven
from lockstep.domain.progress import Fingerprint, Manifest
from lockstep.domain.resources import (
    Collection,
    Database,
    Everything,
    Mongo,
    Postgres,
    Prefix,
    Table,
    Touched,
)
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus, Status
from lockstep.engine.ports import DocumentStore, ObjectStore, TableStore
from lockstep.engine.services import Services, Store
from lockstep.engine.unchanged import refuse_changed


def touched_in(revision: Revision, database: Database) -> tuple[Touched, ...]:
    """Return what either direction of the revision may change in a database, Everything swallowing tables."""
    found = tuple(touched for touched in revision.touched if touched.database == database)
    everything = tuple(touched for touched in found if isinstance(touched, Everything))
    return everything or found


def fingerprints(
    services: Services,
    database: Database,
    touched: Sequence[Touched],
    *,
    keys_only: bool = False,
    store: Store | None = None,
) -> dict[str, Fingerprint]:
    """Fingerprint resources of one database, by slug; keys_only: without their content and shape.

    `store`: where they are read, if not in the database itself, such as a scratch space.
    """
    found: dict[str, Fingerprint] = {}
    opened = store or services.store(database)
    for resource in touched:
        if isinstance(database, Postgres):
            tables = cast(TableStore, opened)
            found.update(tables.fingerprint(cast(Table, resource), keys_only=keys_only))
        elif isinstance(database, Mongo):
            documents = cast(DocumentStore, opened)
            found[resource.slug] = documents.fingerprint(cast(Collection, resource), keys_only=keys_only)
        else:
            objects = cast(ObjectStore, opened)
            found[resource.slug] = objects.fingerprint(cast(Prefix, resource), keys_only=keys_only)
    return found


def take_backup(services: Services, revision: Revision, run: Run, database: Database) -> dict[str, Any]:
    """Write the backup of one database to the vault; return its size and place.

    Written before, by an attempt that ended: that one stays and is said.
    """
    refuse_changed(run, revision)
    services.ledger.heartbeat(run.id, run.epoch, services.settings.lease_seconds)
    if run.backed_up:
        return {"skipped": "the backups of this run are proven already"}
    folder = f"backups/{run.id}/{database.conn_id}"
    touched = touched_in(revision, database)
    services.log.info(
        f"backing up {', '.join(str(t) for t in touched)}", to=services.vault.uri(folder), run=run.id
    )
    store = services.store(database)
    before = fingerprints(services, database, touched)
    files = services.vault.write_many(folder, store.backup(touched))  # type: ignore[arg-type]
    manifest = Manifest(
        run_id=run.id,
        conn_id=database.conn_id,
        kind=database.kind,
        path=f"{folder}/manifest.json",
        taken_at=datetime.now(timezone.utc),
        files=tuple(sorted(files, key=lambda file: file.path)),
        fingerprints=before,
        made_by=dict(store.check()),
    )
    services.vault.put(manifest.path, manifest_json(manifest), "application/json")
    services.ledger.save_backup(manifest, proof=None)
    for slug, held in before.items():
        services.log.info(
            f"{slug}: {held.count} record(s)" if held.present else f"{slug}: not there yet", resource=slug
        )
    services.log.info(
        f"wrote {len(files)} file(s), {manifest.size} bytes", manifest=services.vault.uri(manifest.path)
    )
    return {
        "files": len(files),
        "bytes": manifest.size,
        "records": sum(held.count for held in before.values()),
        "manifest": services.vault.uri(manifest.path),
    }


def prove_backups(services: Services, revision: Revision, run: Run) -> dict[str, Any]:
    """Read every backup of the run back, compare it with its manifest, and open the way to the data.

    Raises BackupNotProven, naming the object, where size or SHA-256 differ or a database has no backup.
    """
    refuse_changed(run, revision)
    services.ledger.heartbeat(run.id, run.epoch, services.settings.lease_seconds)
    if run.backed_up:
        return {"skipped": "the backups of this run are proven already"}
    taken = {manifest.conn_id: manifest for manifest in services.ledger.backups(run.id)}
    for database in revision.databases:
        if database.conn_id not in taken:
            raise BackupNotProven(
                f"run {run.id} has no backup of {database.conn_id}. Clear the task backup.{database.conn_id}.",
                conn_id=database.conn_id,
            )
    for manifest in taken.values():
        _prove(services, manifest)
        services.ledger.save_backup(manifest, proof=Proof.CHECKSUM)
    _open_the_gate(services, revision, run, list(taken.values()))
    size = sum(manifest.size for manifest in taken.values())
    services.log.info(
        f"proven: {sum(len(m.files) for m in taken.values())} file(s), {size} bytes match their manifests",
        run=run.id,
    )
    return {"databases": len(taken), "bytes": size}


def _prove(services: Services, manifest: Manifest) -> None:
    kept = services.vault.get(manifest.path)
    if kept != manifest_json(manifest):
        raise BackupNotProven(
            f"the manifest {services.vault.uri(manifest.path)} is not what the ledger says was written. "
            "Nothing was changed; look who writes to the vault, then trigger the run again.",
            path=manifest.path,
        )
    for file in manifest.files:
        size, sha256 = services.vault.digest(file.path)
        if (size, sha256) != (file.size, file.sha256):
            raise BackupNotProven(
                f"{services.vault.uri(file.path)} reads back as {size} bytes, SHA-256 {sha256[:12]}…, and was "
                f"written as {file.size} bytes, {file.sha256[:12]}…. Nothing was changed; look at the vault's "
                "storage, then trigger the run again.",
                path=file.path,
            )


def _open_the_gate(services: Services, revision: Revision, run: Run, taken: Sequence[Manifest]) -> None:
    size = sum(manifest.size for manifest in taken)
    with services.ledger.unit() as unit:
        if unit.run(run.id).status is not RunStatus.OPEN or unit.run(run.id).backed_up:
            return
        unit.change_run(run.id, backed_up=True)
        wanted = Status.UPGRADING if run.direction == "upgrade" else Status.ROLLING_BACK
        unit.set_status(revision.id, wanted, run_id=run.id)
        unit.say(
            run.id,
            "migration.backed_up",
            {
                "revision": revision.id,
                "run": run.id,
                "bytes": size,
                "manifests": [services.vault.uri(manifest.path) for manifest in taken],
            },
        )


def manifest_json(manifest: Manifest) -> bytes:
    """Return the manifest's text, the same bytes for the same manifest."""
    content = asdict(manifest)
    content["taken_at"] = manifest.taken_at.isoformat()
    content["format"] = 1
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False).encode()
