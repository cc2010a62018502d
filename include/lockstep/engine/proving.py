"""Prove backups before anything else happens: read back, and up to a size restored and compared.

A backup is proven when every file in the vault is what was written (`checksum`), and better when a copy of it,
restored beside the database, has the fingerprint of each resource (`restore`). One byte that differs anywhere,
and the way to the data stays shut.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, TypeVar

from lockstep.domain.backups import Proof
from lockstep.domain.errors import BackupNotProven, DataError, LockstepError, Refused, Unsupported
from lockstep.domain.progress import Manifest
from lockstep.domain.resources import Database
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus, Status
from lockstep.engine.backup import manifest_json, proof_of
from lockstep.engine.copied import fill, scratch_beside
from lockstep.engine.lease import kept
from lockstep.engine.services import Services
from lockstep.engine.unchanged import refuse_changed

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Proven:
    """How a backup was proven, and why not better."""

    proof: Proof
    #: why it was not restored where it should have been; None where it was, or was not to be
    less: str | None = None


def prove_backups(services: Services, revision: Revision, run: Run) -> dict[str, Any]:
    """Prove every backup of the run, and open the way to the data.

    Raises BackupNotProven, naming the object or the resource, where something is not what was backed up or a
    database has no backup.
    """
    refuse_changed(run, revision)
    services.ledger.heartbeat(run.id, run.epoch, services.settings.lease_seconds)
    # As the ledger has it now: proven backups are never written over, whatever the caller last knew.
    if services.ledger.run(run.id).backed_up:
        return {"skipped": "the backups of this run are proven already"}
    taken = {manifest.conn_id: manifest for manifest in services.ledger.backups(run.id)}
    for database in revision.databases:
        if database.conn_id not in taken:
            raise BackupNotProven(
                f"run {run.id} has no backup of {database.conn_id}. Clear the task backup.{database.conn_id}.",
                conn_id=database.conn_id,
            )
    proven: dict[str, Proven] = {}
    with kept(services, run):
        for database in revision.databases:
            manifest = taken[database.conn_id]
            proven[database.conn_id] = prove(services, database, manifest)
            services.ledger.save_backup(manifest, proof=proven[database.conn_id].proof)
    _open_the_gate(services, revision, run, list(taken.values()), proven)
    size = sum(manifest.size for manifest in taken.values())
    for conn_id, how in proven.items():
        services.log.info(f"proven by {how.proof}: {conn_id}", consistency=taken[conn_id].consistency)
    return {
        "databases": len(taken),
        "bytes": size,
        "proof": {conn_id: how.proof.value for conn_id, how in proven.items()},
    }


def prove(services: Services, database: Database, manifest: Manifest) -> Proven:
    """Prove one backup as the settings say; whoever calls keeps the lease.

    Raises BackupNotProven, naming the object or the resource, and where it is to be restored and cannot be.
    """
    read_back(services, manifest)
    if proof_of(services.settings, manifest.size) is Proof.CHECKSUM:
        return Proven(proof=Proof.CHECKSUM)
    with ExitStack() as opened:
        try:
            scratch = opened.enter_context(
                scratch_beside(services, database, mark=f"proof_{manifest.run_id}", part=manifest.conn_id)
            )
        except Refused as refusal:
            return _less(services, manifest, refusal)
        try:
            fill(services, database, scratch, manifest)
        except Unsupported as lack:
            return _less(services, manifest, lack)
        except (DataError, Refused) as problem:
            raise BackupNotProven(
                f"the backup {services.vault.uri(manifest.path)} cannot be restored: {problem} Nothing was changed; "
                "mend the cause, then trigger the run again.",
                path=manifest.path,
            ) from problem
    return Proven(proof=Proof.RESTORE)


def read_back(services: Services, manifest: Manifest) -> None:
    """Raise BackupNotProven, naming the object, unless the vault gives back every byte that was written."""
    uri = services.vault.uri
    if _or_missing(services, manifest.path, services.vault.get) != manifest_json(manifest):
        raise BackupNotProven(
            f"the manifest {uri(manifest.path)} is not what the ledger says was written. "
            "Nothing was changed; look who writes to the vault, then trigger the run again.",
            path=manifest.path,
        )
    for file in manifest.files:
        size, sha256 = _or_missing(services, file.path, services.vault.digest)
        if (size, sha256) != (file.size, file.sha256):
            raise BackupNotProven(
                f"{uri(file.path)} reads back as {size} bytes, SHA-256 {sha256[:12]}…, and was "
                f"written as {file.size} bytes, {file.sha256[:12]}…. Nothing was changed; look at the vault's "
                "storage, then trigger the run again.",
                path=file.path,
            )


def _or_missing(services: Services, path: str, read: Callable[[str], T]) -> T:
    try:
        return read(path)
    except DataError as problem:
        raise BackupNotProven(
            f"{services.vault.uri(path)} cannot be read: {problem} Nothing was changed; look at the vault, then "
            "trigger the run again.",
            path=path,
        ) from problem


def _less(services: Services, manifest: Manifest, refusal: LockstepError) -> Proven:
    """Take the checksums for proof where no scratch space can hold it, unless a restore was asked for."""
    if services.settings.proof == Proof.RESTORE.value:
        raise BackupNotProven(
            f"the backup of {manifest.conn_id} is to be proven by restoring it, and that cannot be: {refusal} "
            "Nothing was changed. Do that, or trigger the run with proof = checksum.",
            path=manifest.path,
            conn_id=manifest.conn_id,
        ) from refusal
    services.log.warning(
        f"NOT PROVEN BY A RESTORE: {refusal} The backup of {manifest.conn_id} was read back, and its checksums "
        "match; whether it can be restored was not tried."
    )
    return Proven(proof=Proof.CHECKSUM, less=str(refusal))


def _open_the_gate(
    services: Services,
    revision: Revision,
    run: Run,
    taken: Sequence[Manifest],
    proven: Mapping[str, Proven],
) -> None:
    size = sum(manifest.size for manifest in taken)
    proofs = {conn_id: how.proof.value for conn_id, how in proven.items()}
    facts: dict[str, Any] = {
        "proof": proofs,
        "consistency": {manifest.conn_id: manifest.consistency for manifest in taken},
    }
    servers = {manifest.conn_id: dict(manifest.made_by) for manifest in taken if manifest.made_by}
    less = {conn_id: how.less for conn_id, how in proven.items() if how.less}
    if less:
        facts["not_restored"] = less
    with services.ledger.unit() as unit:
        if unit.run(run.id).status is not RunStatus.OPEN or unit.run(run.id).backed_up:
            return
        unit.change_run(run.id, backed_up=True, facts={"backup": facts})
        _refuse_replaced(services, run, taken)
        wanted = Status.UPGRADING if run.direction == "upgrade" else Status.ROLLING_BACK
        unit.set_status(revision.id, wanted, run_id=run.id)
        unit.note(run.id, "backups_proven", facts | {"bytes": size, "servers": servers})
        unit.say(
            run.id,
            "migration.backed_up",
            {
                "revision": revision.id,
                "direction": run.direction,
                "run": run.id,
                "by": run.caller.by,
                "bytes": size,
                "manifests": [services.vault.uri(manifest.path) for manifest in taken],
                "proof": proofs,
            },
        )


def _refuse_replaced(services: Services, run: Run, taken: Sequence[Manifest]) -> None:
    """Raise BackupNotProven where a slower attempt has saved another backup than the one that was proven.

    The run's row is locked by now, so that none comes after this look.
    """
    proven = {
        stored.manifest.path for stored in services.ledger.stored_backups(run_id=run.id) if stored.proof
    }
    replaced = [manifest.conn_id for manifest in taken if manifest.path not in proven]
    if replaced:
        raise BackupNotProven(
            f"while the backups of run {run.id} were proven, another attempt wrote {', '.join(replaced)} again. "
            "Nothing was changed; clear the task that proves them, which then reads the new ones.",
            run=run.id,
        )
