"""Where the copy comes from: a backup of the live databases taken now, or one that a run has left."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from typing import Any

from lockstep.domain.progress import BackupFile, Fingerprint, Manifest
from lockstep.domain.rehearsal import FRESH
from lockstep.engine.backup import manifest_json
from lockstep.engine.rehearsing.opening import Plan, manifests_of
from lockstep.engine.rehearsing.wanted import Wanted
from lockstep.engine.services import Services

#: below a rehearsal's folder
SOURCE = "source"


def back_up_live(services: Services, plan: Plan, wanted: Wanted) -> dict[str, Any]:
    """Back up what a rehearsal copies of one live database; done before, it stays.

    The live database is only read: not even Lockstep's own schema is made in it. What it holds may change
    meanwhile; the copy is as consistent as a backup of that kind of store is, and nothing here compares it with
    the live data.
    """
    folder = f"{plan.rehearsal.folder}/{SOURCE}/{wanted.label}"
    path = f"{folder}/manifest.json"
    if services.vault.exists(path):
        kept = read_manifest(services, path)
        services.log.info("an earlier try has backed it up", manifest=services.vault.uri(path))
        return _said(services, kept, None)
    services.log.info(
        f"backing up {', '.join(map(str, wanted.resources))}, to copy it", to=services.vault.uri(folder)
    )
    began = time.monotonic()
    store = services.stores(wanted.database)
    files = services.vault.write_many(folder, store.backup(wanted.resources))  # type: ignore[arg-type]
    manifest = Manifest(
        run_id=plan.rehearsal.id,
        conn_id=wanted.database.conn_id,
        kind=wanted.database.kind,
        path=path,
        taken_at=datetime.now(timezone.utc),
        files=tuple(sorted(files, key=lambda file: file.path)),
        consistency="taken while others may have written",
    )
    services.vault.put(path, manifest_json(manifest), "application/json")
    return _said(services, manifest, time.monotonic() - began)


def _said(services: Services, manifest: Manifest, seconds: float | None) -> dict[str, Any]:
    services.log.info(f"{len(manifest.files)} file(s), {manifest.size} bytes")
    return {"files": len(manifest.files), "bytes": manifest.size, "seconds": seconds}


def source_of(services: Services, plan: Plan, wanted: Wanted) -> Manifest:
    """Return the manifest that a database's copy is loaded from."""
    if plan.asked.source == FRESH:
        return read_manifest(services, f"{plan.rehearsal.folder}/{SOURCE}/{wanted.label}/manifest.json")
    return manifests_of(services, plan.asked.source)[wanted.database.conn_id]


def read_manifest(services: Services, path: str) -> Manifest:
    """Return a manifest from the vault."""
    given = json.loads(services.vault.get(path))
    return manifest_from(given)


def manifest_from(given: dict[str, Any]) -> Manifest:
    """Return the manifest that its JSON text says."""
    return Manifest(
        run_id=given["run_id"],
        conn_id=given["conn_id"],
        kind=given["kind"],
        path=given["path"],
        taken_at=datetime.fromisoformat(given["taken_at"]),
        files=tuple(BackupFile(**file) for file in given["files"]),
        fingerprints={slug: Fingerprint(**held) for slug, held in given["fingerprints"].items()},
        made_by=given.get("made_by", {}),
        consistency=given.get("consistency", ""),
        reuses=given.get("reuses", {}),
    )
