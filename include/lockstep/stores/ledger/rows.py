"""A row becomes a value here, and nowhere else."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime
from typing import Any

from lockstep.domain.approval import Approval, Mark
from lockstep.domain.backups import Proof, StoredBackup
from lockstep.domain.parked import Parked
from lockstep.domain.progress import BackupFile, Fingerprint, Manifest, Progress
from lockstep.domain.quarantine import Quarantined, QuarantinedRecord
from lockstep.domain.rehearsal import Compared, Prediction, Rehearsal, Verdict
from lockstep.domain.run import BatchEntry, Caller, Pause, RevisionState, Run, ShardState
from lockstep.domain.status import RunStatus, Status
from lockstep.stores.ledger.plain import iso, utc

Row = Mapping[str, Any]


def _time(value: datetime | None) -> datetime | None:
    return None if value is None else utc(value)


def revision_of(row: Row) -> RevisionState:
    """Return a row of `_migrations` as a value."""
    return RevisionState(
        id=row["id"],
        description=row["description"],
        storage_type=row["storage_type"],
        status=Status(row["status"]),
        checksum=row["checksum"],
        down_revision=row["down_revision"],
        applied_at=_time(row["applied_at"]),
        rollback_at=_time(row["rollback_at"]),
        error_message=row["error_message"],
        applied_run=row["applied_run"],
        last_run=row["last_run"],
    )


def run_of(row: Row) -> Run:
    """Return a row of `_migration_runs` as a value."""
    return Run(
        id=row["id"],
        revision=row["revision"],
        direction=row["direction"],
        status=RunStatus(row["status"]),
        caller=Caller(
            dag_id=row["dag_id"], dag_run_id=row["dag_run_id"], by=row["called_by"], parent=row["parent"]
        ),
        checksum=row["checksum"],
        started_at=utc(row["started_at"]),
        ended_at=_time(row["ended_at"]),
        params=row["params"],
        backed_up=row["backed_up"],
        source_run=row["source_run"],
        error=row["error"],
        epoch=row["epoch"],
        facts=row["facts"],
        pause=pause_of(row),
    )


def pause_of(row: Row) -> Pause | None:
    """Return who wants a run to wait, None where it may go on."""
    if row["paused_at"] is None:
        return None
    return Pause(by=row["pause_by"], reason=row["pause_reason"], at=utc(row["paused_at"]))


def progress_of(row: Row) -> Progress:
    """Return the progress that a shard's row, or a batch's JSON, holds."""
    return Progress(
        cursor=row["cursor"],
        batches=row["batches"],
        read=row["read"],
        written=row["written"],
        inserted=row["inserted"],
        # Batches that were journaled before records could be left have no such count.
        quarantined=row.get("quarantined", 0),
        done=row["done"],
    )


def shard_of(row: Row) -> ShardState:
    """Return a row of `_migration_shards` as a value."""
    return ShardState(
        step=row["step"],
        shard=row["shard"],
        label=row["label"],
        lower=row["lower"],
        upper=row["upper"],
        state=row["state"],
        epoch=row["epoch"],
        progress=progress_of(row),
        keys=None if row["keys"] is None else tuple(row["keys"]),
        estimate=row["estimate"],
        rate=row["rate"],
        held=row["held"],
    )


def quarantined_of(row: Row) -> QuarantinedRecord:
    """Return a row of `_migration_quarantine` as a value."""
    return QuarantinedRecord(
        run_id=row["run_id"],
        step=row["step"],
        shard=row["shard"],
        conn_id=row["conn_id"],
        resource=row["resource"],
        record=Quarantined(key=row["key"], shown=row["shown"], error=row["error"]),
        at=utc(row["at"]),
        resolved_by=row["resolved_by"],
    )


def batch_of(row: Row) -> BatchEntry:
    """Return a row of `_migration_batches` as a value."""
    return BatchEntry(
        step=row["step"],
        shard=row["shard"],
        batch=row["batch"],
        state=row["state"],
        path=row["path"],
        sha256=row["sha256"],
        progress=progress_of(row["progress"]),
    )


def manifest_json(manifest: Manifest) -> dict[str, Any]:
    """Return a manifest as plain JSON."""
    return {**asdict(manifest), "taken_at": iso(manifest.taken_at)}


def manifest_of(given: Row) -> Manifest:
    """Return the manifest that JSON holds."""
    fields = dict(given)
    fields["taken_at"] = datetime.fromisoformat(fields["taken_at"])
    fields["files"] = tuple(BackupFile(**file) for file in fields["files"])
    fields["fingerprints"] = {
        slug: Fingerprint.from_json(held) for slug, held in fields["fingerprints"].items()
    }
    return Manifest(**fields)


def backup_of(row: Row) -> StoredBackup:
    """Return a row of `_migration_backups`, with its run's revision, direction and status, as a value."""
    return StoredBackup(
        manifest=manifest_of(row["manifest"]),
        revision=row["revision"],
        way=row["direction"],
        run_status=RunStatus(row["status"]),
        saved_at=utc(row["saved_at"]),
        proof=None if row["proof"] is None else Proof(row["proof"]),
        proven_at=_time(row["proven_at"]),
        checked_at=_time(row["checked_at"]),
        problem=row["problem"],
        removed_at=_time(row["removed_at"]),
    )


def parked_of(row: Row) -> Parked:
    """Return a row of `_migration_parked` as a value."""
    return Parked(
        conn_id=row["conn_id"],
        kind=row["kind"],
        resource=row["resource"],
        parked_as=row["parked_as"],
        parked_at=utc(row["parked_at"]),
        run_id=row["run_id"],
        revision=row["revision"],
        bytes=row["bytes"],
        records=row["records"],
        gone_at=_time(row["gone_at"]),
        gone_why=row["gone_why"],
    )


def rehearsal_of(row: Row) -> Rehearsal:
    """Return a row of `_migration_rehearsals` as a value."""
    return Rehearsal(
        id=row["id"],
        target=row["target"],
        caller=Caller(dag_id=row["dag_id"], dag_run_id=row["dag_run_id"], by=row["asked_by"]),
        started_at=utc(row["started_at"]),
        ended_at=_time(row["ended_at"]),
        verdict=None if row["verdict"] is None else Verdict(row["verdict"]),
        revisions=row["revisions"],
        params=row["params"],
        report_path=row["report_path"],
        report_sha256=row["report_sha256"],
        predicted={revision: Prediction(**given) for revision, given in row["predicted"].items()},
        facts=row["facts"],
    )


def approval_of(row: Row) -> Approval:
    """Return a row of `_migration_approvals` as a value."""
    return Approval(
        id=row["id"],
        mark=Mark(
            revision=row["revision"],
            direction=row["direction"],
            checksum=row["checksum"],
            plan_sha256=row["plan_sha256"],
            rehearsal_id=row["rehearsal_id"],
            report_sha256=row["report_sha256"],
        ),
        environment=row["environment"],
        policy=row["policy"],
        by=row["approved_by"],
        at=utc(row["at"]),
        dag_id=row["dag_id"],
        dag_run_id=row["dag_run_id"],
        voided_at=_time(row["voided_at"]),
        voided_why=row["voided_why"],
    )


def compared_of(row: Row) -> Compared:
    """Return a row of `_migration_predictions` as a value."""
    return Compared(
        rehearsal_id=row["rehearsal_id"],
        run_id=row["run_id"],
        revision=row["revision"],
        predicted=Prediction(
            seconds=row["predicted_seconds"], low=row["low_seconds"], high=row["high_seconds"]
        ),
        actual_seconds=row["actual_seconds"],
        at=utc(row["at"]),
    )
