"""A backup restored into a scratch space: the proof that it can be, and what a restore takes records from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

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
from lockstep.domain.scratch import scratch_name
from lockstep.engine.backup import fingerprints
from lockstep.engine.services import Services, Store


@contextmanager
def copy_of(
    services: Services, database: Database, manifest: Manifest, *, mark: str, keep: bool = False
) -> Iterator[Store]:
    """Load a backup into a scratch space beside the database, compare it with its manifest, and yield a store on it.

    Every resource must have the fingerprint that it had when it was backed up; BackupNotProven names those that
    differ. The scratch space is dropped at the end unless it is to be kept.
    `mark`: what tells this scratch space from others, such as the run's id.
    """
    with scratch_beside(services, database, mark=mark, part=manifest.conn_id, keep=keep) as scratch:
        fill(services, database, scratch, manifest)
        yield scratch


@contextmanager
def scratch_beside(
    services: Services, database: Database, *, mark: str, part: str, keep: bool = False
) -> Iterator[Store]:
    """Make an empty scratch space beside a database, and drop it at the end unless it is to be kept.

    Raises Refused where the role may make none.
    """
    live = services.store(database)
    name = scratch_name(mark, part)
    scratch: Store = live.open_scratch(name)
    try:
        yield scratch
    finally:
        if not keep:
            live.drop_scratch(name)


def fill(services: Services, database: Database, scratch: Store, manifest: Manifest) -> None:
    """Load a backup into an empty scratch space; BackupNotProven where it then is not what was backed up."""
    services.log.info(f"restoring the backup of {manifest.conn_id} beside it", bytes=manifest.size)
    scratch.load(manifest.files, services.vault.read)
    services.reached("copy loaded")
    refuse_different(services, database, scratch, manifest)


def refuse_different(services: Services, database: Database, copy: Store, manifest: Manifest) -> None:
    """Raise BackupNotProven unless each resource of a copy has the fingerprint that the manifest gives it."""
    now: dict[str, Fingerprint] = fingerprints(
        services, database, resources_of(database, manifest), store=copy
    )
    wrong = []
    for slug, before in manifest.fingerprints.items():
        how = now.get(slug, Fingerprint(present=False)).differs_from(before)
        if how:
            wrong.append(f"{slug}: {how}")
    if wrong:
        raise BackupNotProven(
            f"the backup {services.vault.uri(manifest.path)} was restored beside {manifest.conn_id}, and it is not "
            f"what was backed up: {'; '.join(wrong)}. Look what writes to the database while it is backed up, and "
            "who writes to the vault; then trigger the run again.",
            path=manifest.path,
            resources=wrong,
        )


def resources_of(database: Database, manifest: Manifest) -> list[Touched]:
    """Return the resources that a manifest holds, as values of the database that it was taken of."""
    found: list[Touched] = []
    for slug in manifest.fingerprints:
        if slug == "*":
            found.append(Everything(database))
        elif isinstance(database, Postgres):
            schema, _, name = slug.rpartition(".")
            found.append(Table(database, name, schema=schema or "public"))
        elif isinstance(database, Mongo):
            found.append(Collection(database, slug))
        else:
            found.append(Prefix(database, slug))
    return found
