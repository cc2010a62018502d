"""What housekeeping asks of the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

import pytest
from ledgers import a_run, fresh_ledger, opened, sql

from lockstep.domain.backups import Proof
from lockstep.domain.parked import Parked
from lockstep.domain.progress import BackupFile, Fingerprint, Manifest
from lockstep.domain.run import RunStatus
from lockstep.stores.ledger import PostgresLedger

if TYPE_CHECKING:
    from addresses import Addresses

NOON = datetime(2026, 11, 22, 12, tzinfo=timezone.utc)


@pytest.fixture
def fresh(servers: Addresses) -> Iterator[tuple[PostgresLedger, str]]:
    with fresh_ledger(servers) as made:
        opened(made[0])
        yield made


def test_only_leases_that_ran_out_after_their_runs_end_are_removed(fresh: tuple[PostgresLedger, str]) -> None:
    ledger, conninfo = fresh
    ledger.heartbeat("r1", 1, 60)
    assert ledger.ended_leases(remove=True) == []
    with sql(conninfo) as db:
        db.execute("UPDATE _migration_leases SET expires_at = now() - interval '1 minute'")
    assert ledger.ended_leases(remove=True) == []
    with ledger.unit() as unit:
        unit.change_run("r1", status=RunStatus.STOPPED)
        unit.add_run(a_run("r2"))
    ledger.heartbeat("r2", 1, 60)
    with ledger.unit() as unit:
        unit.change_run("r2", status=RunStatus.STOPPED)
    assert ledger.ended_leases(remove=False) == ["r1"]
    assert ledger.lease_age("r1") is not None
    assert ledger.ended_leases(remove=True) == ["r1"]
    assert ledger.lease_age("r1") is None
    assert ledger.lease_age("r2") is not None


def test_backups_are_listed_without_their_files_where_nobody_asks_for_them(
    fresh: tuple[PostgresLedger, str],
) -> None:
    ledger, _ = fresh
    manifest = Manifest(
        run_id="r1",
        conn_id="c",
        kind="table",
        path="backups/r1/c/manifest.json",
        taken_at=NOON,
        files=(BackupFile(path="backups/r1/c/a.dump", size=5, sha256="f" * 64, holds="dump"),),
        fingerprints={"users": Fingerprint(present=True, count=3)},
        reuses={"users": "backups/r0/c/manifest.json"},
    )
    ledger.save_backup(manifest, proof=Proof.CHECKSUM)
    (header,) = ledger.stored_backups(files=False)
    (whole,) = ledger.stored_backups()
    assert whole.manifest == manifest
    assert header == replace(whole, manifest=replace(manifest, files=()))


def test_what_a_later_run_parks_by_the_same_name_is_another_thing(fresh: tuple[PostgresLedger, str]) -> None:
    ledger, _ = fresh
    first = Parked(
        conn_id="c", kind="column", resource="users.age", parked_as="p", parked_at=NOON, run_id="r1"
    )
    second = replace(first, parked_at=NOON + timedelta(1))
    ledger.sync_parked("c", [first], why="taken back")
    assert ledger.sync_parked("c", [second], why="taken back") == 1
    assert ledger.parked() == [second]
    assert [one.gone_why for one in ledger.parked(gone=True)] == ["taken back", None]


def test_a_note_names_who_did_it_and_otherwise_who_asked_for_the_run(
    fresh: tuple[PostgresLedger, str],
) -> None:
    ledger, _ = fresh
    with ledger.unit() as unit:
        unit.note("r1", "backup_removed", {}, who="housekeeping")
        unit.note("r1", "noted", {})
    removed, noted = ledger.history()[-2:]
    assert removed["who"] == "housekeeping"
    assert noted["who"] == ledger.run("r1").caller.by != "housekeeping"
    assert removed["revision"] == ledger.run("r1").revision
    assert ledger.verify_history() is None
