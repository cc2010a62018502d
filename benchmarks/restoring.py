"""A backup and its restore beside the database, in the process that does it, and what the programs held meanwhile."""

from __future__ import annotations

import time
from typing import Any

from benchmarks import work
from benchmarks.offspring import watched
from benchmarks.work import Where
from lockstep.domain.progress import Fingerprint
from lockstep.domain.resources import Postgres
from lockstep.stores.postgres import dump
from lockstep.stores.postgres.store import PostgresStore

#: what is restored into
SCRATCH = "lockstep_scratch_bench"


def backed_up(where: Where) -> dict[str, Any]:
    """Do the backup task; say what pg_dump held."""
    with watched() as held:
        said = work.backed_up(where)
    return {**said, "programs": held}


def archived(where: Where) -> dict[str, Any]:
    """Write the archive alone, without the fingerprints that are taken while it is made."""
    name = "fingerprint"
    getattr(dump, name)  # AttributeError where it is done elsewhere now
    setattr(dump, name, lambda conn, table: Fingerprint(present=True))
    services, revision, _ = work.task(where)
    (database,) = revision.databases
    store = services.store(database)
    began = time.monotonic()
    files = services.vault.write_many("alone", store.backup(revision.touched))  # type: ignore[arg-type]
    return {"seconds": time.monotonic() - began, "bytes": sum(file.size for file in files)}


def restored(where: Where) -> dict[str, Any]:
    """Load the run's backup into a scratch database; say how long that took, and whether it is what was backed up."""
    services, revision, run = work.task(where)
    (manifest,) = services.ledger.backups(run.id)
    (database,) = revision.databases
    assert isinstance(database, Postgres)
    live = services.store(database)
    assert isinstance(live, PostgresStore)
    copy = live.open_scratch(SCRATCH)
    try:
        with watched() as held:
            began = time.monotonic()
            copy.load(manifest.files, services.vault.read)
            seconds = time.monotonic() - began
        for table in revision.touched:
            same = copy.fingerprint(table)  # type: ignore[arg-type]
            if same != {slug: manifest.fingerprints[slug] for slug in same}:
                raise RuntimeError(f"{table} was restored, and is not what was backed up")
    finally:
        copy.close()
        live.drop_scratch(SCRATCH)
    return {"load_seconds": seconds, "bytes": manifest.size, "programs": held}
