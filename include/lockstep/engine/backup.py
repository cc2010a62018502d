"""Back up what a revision touches, before anything else."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timezone
from typing import Any, cast

from lockstep.domain.backups import Proof
from lockstep.domain.errors import BackupNotProven
from lockstep.domain.exchange import BackupPart
from lockstep.domain.progress import Fingerprint, Manifest
from lockstep.domain.resources import (
    Bucket,
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
from lockstep.engine import metering
from lockstep.engine.lease import kept
from lockstep.engine.ports import DocumentStore, ObjectStore, TableStore
from lockstep.engine.quiescence import changed_meanwhile, consistency, worth_a_look
from lockstep.engine.reuse import earlier_backup, manifest_again
from lockstep.engine.services import Services, Settings, Store
from lockstep.engine.unchanged import refuse_changed

#: times that a store without a snapshot is read again, since it changed meanwhile
ATTEMPTS = 3


def proof_of(settings: Settings, size: int) -> Proof:
    """Return how a backup of so many bytes is to be proven."""
    if settings.proof == "auto":
        return Proof.RESTORE if size <= settings.proof_restore_bytes else Proof.CHECKSUM
    return Proof(settings.proof)


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

    Written before, by an attempt that ended: that one stays and is said. Raises BackupNotProven, naming the
    resource, where it changes each time that it is read and the store has no snapshot.
    """
    refuse_changed(run, revision)
    services.ledger.heartbeat(run.id, run.epoch, services.settings.lease_seconds)
    # As the ledger has it now: proven backups are never written over, whatever the caller last knew.
    if services.ledger.run(run.id).backed_up:
        return {"skipped": "the backups of this run are proven already"}
    touched = touched_in(revision, database)
    began = time.monotonic()
    with kept(services, run):
        manifest = _earlier(services, run, database, touched) or back_up(services, run, database, touched)
        services.vault.put(manifest.path, manifest_json(manifest), "application/json")
    services.ledger.save_backup(manifest, proof=None)
    metering.backed_up(services, run, manifest, time.monotonic() - began)
    for slug, held in manifest.fingerprints.items():
        services.log.info(
            f"{slug}: {held.count} record(s)" if held.present else f"{slug}: not there yet", resource=slug
        )
    services.log.info(
        f"{'uses again' if manifest.reuses else 'wrote'} {len(manifest.files)} file(s), {manifest.size} bytes",
        manifest=services.vault.uri(manifest.path),
        consistency=manifest.consistency,
    )
    return {
        "files": len(manifest.files),
        "bytes": manifest.size,
        "records": sum(held.count for held in manifest.fingerprints.values()),
        "manifest": services.vault.uri(manifest.path),
        "consistency": manifest.consistency,
    } | ({"reuses": sorted(set(manifest.reuses.values()))} if manifest.reuses else {})


def folder_of(run: Run, database: Database) -> str:
    """Return where a run's backups of a database lie in the vault, each attempt's in a folder of its own."""
    return f"backups/{run.id}/{database.conn_id}"


def attempt_folder(run: Run, database: Database) -> str:
    """Return a folder that no other attempt writes to.

    A worker that was frozen while it uploaded, and wakes after the backup of its successor was proven, must not
    write over that one.
    """
    return f"{folder_of(run, database)}/{secrets.token_hex(4)}"


def _earlier(services: Services, run: Run, database: Database, touched: Sequence[Touched]) -> Manifest | None:
    """Return a manifest with an earlier backup's files, where the run may use them and nothing has changed.

    Never of a bucket, whose fingerprints tell nothing of headers such as Cache-Control.
    """
    if not services.settings.reuse_backups:
        return None
    if isinstance(database, Bucket):
        services.log.info(
            f"the headers of objects in {database.conn_id} may have changed, and no fingerprint tells: taking a backup"
        )
        return None
    now = fingerprints(services, database, touched)
    earlier = earlier_backup(services, database, run, now)
    if earlier is None:
        services.log.info(f"no earlier backup of {database.conn_id} is still what is there: taking one")
        return None
    services.log.info(
        f"{database.conn_id} is what run {earlier.run_id} backed up: using its files again",
        manifest=services.vault.uri(earlier.path),
    )
    return manifest_again(earlier, run, f"{attempt_folder(run, database)}/manifest.json", now)


def back_up(services: Services, run: Run, database: Database, touched: Sequence[Touched]) -> Manifest:
    """Back resources of a database up, once more where they changed while they were read without a snapshot.

    Whoever calls keeps the lease, and puts the manifest into the vault and the ledger. Raises BackupNotProven, naming
    the resource, where it changes each time.
    """
    folder = attempt_folder(run, database)
    services.log.info(
        f"backing up {', '.join(str(t) for t in touched)}", to=services.vault.uri(folder), run=run.id
    )
    changed: dict[str, str] | None = None
    for attempt in range(1, ATTEMPTS + 1):
        manifest, changed = _read_once(services, run, database, touched, folder)
        if not changed:
            return manifest
        told = "; ".join(f"{slug}: {how}" for slug, how in changed.items())
        if isinstance(database, Postgres):
            services.log.warning(f"written to while it was backed up, which is not in the backup: {told}")
            return manifest
        services.log.warning(f"it changed while it was backed up (attempt {attempt} of {ATTEMPTS}): {told}")
    raise BackupNotProven(
        f"{database.conn_id} changed each of {ATTEMPTS} times that it was backed up: {told}. Nothing was changed by "
        "this run. Stop what writes to it while the revision is applied, then trigger the run again.",
        conn_id=database.conn_id,
        resources=sorted(changed or {}),
    )


def _read_once(
    services: Services, run: Run, database: Database, touched: Sequence[Touched], folder: str
) -> tuple[Manifest, dict[str, str] | None]:
    """Write one backup; return its manifest, and what changed meanwhile: None where nobody looked."""
    store = services.store(database)
    # A store with a snapshot says itself what it held; of any other it is read before, and looked at again after.
    held = {} if isinstance(database, Postgres) else fingerprints(services, database, touched)
    parts = _listening(store.backup(touched), held)  # type: ignore[arg-type]
    files = services.vault.write_many(folder, parts, instead_of=folder_of(run, database))
    # Restored and compared as a whole, a backup that is not what it should be is found then.
    keys_only = isinstance(database, Postgres) or (
        proof_of(services.settings, sum(file.size for file in files)) is Proof.RESTORE
    )
    changed = None
    if worth_a_look(database, held):
        now = fingerprints(services, database, touched, keys_only=keys_only)
        changed = changed_meanwhile(held, now, keys_only=keys_only)
    manifest = Manifest(
        run_id=run.id,
        conn_id=database.conn_id,
        kind=database.kind,
        path=f"{folder}/manifest.json",
        taken_at=datetime.now(timezone.utc),
        files=tuple(sorted(files, key=lambda file: file.path)),
        fingerprints=held,
        made_by=dict(store.check()),
        consistency=consistency(database, held, changed, keys_only=keys_only),
    )
    return manifest, changed


def _listening(parts: Iterable[BackupPart], held: dict[str, Fingerprint]) -> Iterator[BackupPart]:
    """Pass parts on, and keep what they say, once they were read, of the state that they are of."""
    for part in parts:
        yield part
        if part.fingerprints is not None:
            held.update(part.fingerprints())


def manifest_json(manifest: Manifest) -> bytes:
    """Return the manifest's text, the same bytes for the same manifest."""
    content = asdict(manifest)
    content["taken_at"] = manifest.taken_at.isoformat()
    content["format"] = 1
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False).encode()
