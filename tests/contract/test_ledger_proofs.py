"""The ledger lists backups with their proofs, what is parked, shapes and rehearsals."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from ledgers import a_run, fresh_ledger

from lockstep.domain.backups import Proof
from lockstep.domain.errors import Refused
from lockstep.domain.parked import Parked
from lockstep.domain.progress import BackupFile, Manifest
from lockstep.domain.rehearsal import Compared, Prediction, Rehearsal, Verdict
from lockstep.domain.run import Caller
from lockstep.domain.status import RunStatus
from lockstep.stores.ledger import PostgresLedger

if TYPE_CHECKING:
    from addresses import Addresses

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


@pytest.fixture
def ledger(servers: Addresses) -> Iterator[PostgresLedger]:
    with fresh_ledger(servers) as (made, _):
        with made.unit() as unit:
            unit.add_run(a_run("r1"))
        yield made


def manifest(conn_id: str = "campus_api", **changes: object) -> Manifest:
    made = Manifest(
        run_id="r1",
        conn_id=conn_id,
        kind="table",
        path=f"backups/r1/{conn_id}/manifest.json",
        taken_at=NOON,
        files=(BackupFile(path=f"backups/r1/{conn_id}/a.dump", size=5, sha256="f" * 64, holds="dump"),),
        consistency="one snapshot",
        reuses={"users": "backups/r0/campus_api/manifest.json"},
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_a_backup_is_listed_with_its_proof_and_its_runs_end(ledger: PostgresLedger) -> None:
    ledger.save_backup(manifest(), proof=None)
    ledger.save_backup(manifest("campus_auth"), proof=Proof.RESTORE)
    by_conn = {one.manifest.conn_id: one for one in ledger.stored_backups()}
    assert by_conn["campus_api"].manifest == manifest()
    assert (by_conn["campus_api"].proof, by_conn["campus_api"].proven_at) == (None, None)
    assert by_conn["campus_auth"].proof is Proof.RESTORE
    assert by_conn["campus_auth"].proven_at is not None
    assert by_conn["campus_auth"].run_status is RunStatus.OPEN
    assert [one.manifest.conn_id for one in ledger.stored_backups(conn_id="campus_auth")] == ["campus_auth"]
    assert ledger.stored_backups(revision="no such") == []


def test_a_backup_that_cannot_be_read_is_noted_and_a_removed_one_leaves_the_list(
    ledger: PostgresLedger,
) -> None:
    ledger.save_backup(manifest(), proof=Proof.CHECKSUM)
    ledger.backup_checked(manifest(), problem="a.dump is gone")
    assert ledger.stored_backups()[0].problem == "a.dump is gone"
    ledger.backup_checked(manifest(), problem=None)
    assert ledger.stored_backups()[0].problem is None
    assert ledger.stored_backups()[0].checked_at is not None
    ledger.backup_removed(manifest())
    assert ledger.stored_backups() == []
    assert ledger.stored_backups(removed=True)[0].removed_at is not None
    assert ledger.backups("r1") == [manifest()]


def test_a_backup_that_nobody_saved_cannot_be_checked(ledger: PostgresLedger) -> None:
    with pytest.raises(Refused, match="knows no backup"):
        ledger.backup_checked(manifest(), problem=None)


def test_the_list_of_parked_things_follows_the_store(ledger: PostgresLedger) -> None:
    table = Parked(conn_id="c", kind="table", resource="users", parked_as="p1", parked_at=NOON, bytes=10)
    column = Parked(
        conn_id="c",
        kind="column",
        resource="users.age",
        parked_as="p2",
        parked_at=NOON + timedelta(1),
        run_id="r1",
    )
    elsewhere = replace(table, conn_id="other")
    assert ledger.sync_parked("c", [table, column], why="taken back") == 0
    ledger.sync_parked("other", [elsewhere], why="taken back")
    assert ledger.parked() == [table, elsewhere, column]
    assert ledger.sync_parked("c", [replace(column, bytes=7)], why="taken back") == 1
    assert ledger.parked() == [elsewhere, replace(column, bytes=7)]
    gone = next(one for one in ledger.parked(gone=True) if one.conn_id == "c" and one.kind == "table")
    assert gone.gone_why == "taken back"
    assert gone.gone_at is not None


def test_the_latest_shape_of_each_database_is_the_one_that_counts(ledger: PostgresLedger) -> None:
    with ledger.unit() as unit:
        unit.change_run("r1", status=RunStatus.APPLIED)
        unit.add_run(a_run("r2"))
    ledger.save_shape("c", "r1", {"table users": "id text"})
    ledger.save_shape("c", "r2", {"table users": "id text, name text"})
    run_id, at, shape = ledger.shapes()["c"]
    assert (run_id, shape) == ("r2", {"table users": "id text, name text"})
    assert at.tzinfo is not None


def test_a_rehearsal_and_its_prediction_are_kept(ledger: PostgresLedger) -> None:
    caller = Caller(dag_id="rehearse", dag_run_id="manual-1", by="olga")
    rehearsal = Rehearsal(
        id="h1", target="head", caller=caller, started_at=NOON, revisions={"0001": "a"}, params={"sample": 10}
    )
    ledger.add_rehearsal(rehearsal)
    assert ledger.rehearsal("h1").verdict is None
    predicted = Prediction(seconds=10, low=8, high=13)
    ledger.change_rehearsal("h1", facts={"a": 1}, predicted={"0001": predicted})
    ended = ledger.change_rehearsal(
        "h1", facts={"b": 2}, verdict=Verdict.GREEN, report_path="r.json", report_sha256="f"
    )
    assert (ended.verdict, ended.facts, ended.predicted) == (
        Verdict.GREEN,
        {"a": 1, "b": 2},
        {"0001": predicted},
    )
    assert ended.ended_at is not None
    assert ledger.rehearsal_of("rehearse", "manual-1") == ended
    assert ledger.rehearsals() == [ended]
    with pytest.raises(Refused, match="no rehearsal 'h9'"):
        ledger.rehearsal("h9")
    ledger.save_comparison(
        Compared(rehearsal_id="h1", run_id="r1", revision="0001", predicted=predicted, actual_seconds=11.5)
    )
    (compared,) = ledger.comparisons("r1")
    assert (compared.predicted, compared.actual_seconds) == (predicted, 11.5)
