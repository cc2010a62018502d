"""Backups are proven before anything else happens, and one byte that differs anywhere stops the run."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg
import pymongo
import pytest
from driver import Driver, PlainLog
from revisions import write
from three_stores import SMALL, counters, ready, scratches
from world import World, factory_of

from lockstep.domain.backups import Proof
from lockstep.domain.errors import BackupNotProven, StaleEpoch, Unavailable
from lockstep.domain.exchange import Adopted
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.backup import take_backup, touched_in
from lockstep.engine.proving import prove_backups, read_back
from lockstep.engine.putting_back import put_back_database
from lockstep.engine.recording import record
from lockstep.engine.services import Services
from lockstep.engine.undo import way_down

#: a revision of objects alone
LABELLED = """
from dataclasses import replace

def upgrade():
    yield ops.update_metadata(Uploads, label)

def downgrade():
    yield ops.restore(Uploads)

def label(info):
    return replace(info, metadata={**info.metadata, "seen": "1"})
"""
#: what a fingerprint of objects tells of besides bodies
DESCRIBED = {"ContentType": "text/plain", "Metadata": {"owner": "u1"}, "Tagging": "kind=essay"}


def made(world: World, log: PlainLog, **settings: Any) -> Driver:
    services = factory_of(world, log, **{**SMALL, "proof": "auto", **settings})
    return Driver(services=services, migrations=world.migrations, log=log, shards=1)


@pytest.fixture
def log() -> PlainLog:
    return PlainLog()


def backed_up(
    driver: Driver, wrap: Callable[[Services], Services] = lambda s: s
) -> tuple[Services, Any, Run]:
    """Open a run and take its backups."""
    services, revision, run = driver.open("0001")
    services = wrap(services)
    for database in revision.databases:
        take_backup(services, revision, run, database)
    return services, revision, run


def proofs(services: Services, run: Run) -> dict[str, Proof | None]:
    return {one.manifest.conn_id: one.proof for one in services.ledger.stored_backups(run_id=run.id)}


def keys(world: World, prefix: str = "backups/") -> list[str]:
    listed = world.s3.list_objects_v2(Bucket=world.vault, Prefix=prefix).get("Contents", [])
    return [item["Key"] for item in listed]


def test_small_backups_are_proven_by_restoring_each_beside_its_database(world: World, log: PlainLog) -> None:
    ready(world)
    driver = made(world, log)
    services, revision, run = backed_up(driver)
    assert set(proofs(services, run).values()) == {None}
    facts = prove_backups(services, revision, run)
    assert set(proofs(services, run).values()) == {Proof.RESTORE}
    assert facts["proof"] == {
        "campus_auth": "restore",
        "campus_documents": "restore",
        "campus_objects": "restore",
    }
    assert scratches(driver) == []
    kept = services.ledger.run(run.id)
    assert kept.backed_up
    assert kept.facts["backup"]["proof"] == facts["proof"]
    assert "not_restored" not in kept.facts["backup"]


@pytest.mark.parametrize("settings", [{"proof": "checksum"}, {"proof_restore_bytes": 0}])
def test_by_policy_or_beyond_a_size_they_are_read_back_and_no_more(
    world: World, log: PlainLog, settings: dict[str, Any]
) -> None:
    ready(world)
    driver = made(world, log, **settings)
    services, revision, run = backed_up(driver)
    reached: list[str] = []
    prove_backups(replace(services, reached=reached.append), revision, run)
    assert set(proofs(services, run).values()) == {Proof.CHECKSUM}
    assert reached == []


KINDS = [".dump", ".bson", ".metadata.json", "o 0007.txt", "objects.jsonl", "manifest.json"]


@pytest.mark.parametrize("proof", ["checksum", "restore"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_flipped_byte_anywhere_names_the_object_and_nothing_is_changed(
    world: World, log: PlainLog, kind: str, proof: str
) -> None:
    before = ready(world)
    driver = made(world, log, proof=proof)
    services, revision, run = backed_up(driver)
    key = next(key for key in keys(world) if key.endswith(kind))
    body = bytearray(world.s3.get_object(Bucket=world.vault, Key=key)["Body"].read())
    body[len(body) // 2] ^= 1
    world.s3.put_object(Bucket=world.vault, Key=key, Body=bytes(body))
    assert not driver.task(run, "backup.prove", prove_backups, revision, run)
    assert key in log.text
    assert not driver.phase(revision, run, "upgrade")
    assert "has no proven backup" in log.text
    assert way_down(services, revision, run) == "none"
    assert record(services, revision, run).status is RunStatus.STOPPED
    assert world.status("0001") == "pending"
    assert world.hashes() == before
    assert scratches(driver) == []


def test_an_object_that_is_gone_is_named(world: World, log: PlainLog) -> None:
    ready(world)
    driver = made(world, log)
    services, revision, run = backed_up(driver)
    key = next(key for key in keys(world) if key.endswith(".bson"))
    world.s3.delete_object(Bucket=world.vault, Key=key)
    with pytest.raises(BackupNotProven, match=key):
        prove_backups(services, revision, run)


def without_createdb(world: World) -> World:
    """Return the same world, reached by a role that owns its tables and may make no database."""
    name = "plain_" + world.mongo_db
    info = psycopg.conninfo.conninfo_to_dict(world.auth_uri)
    world.run(f"CREATE ROLE {name} LOGIN PASSWORD 'plain'")
    world.run(f"GRANT ALL ON DATABASE {info['dbname']} TO {name}; GRANT ALL ON SCHEMA public TO {name}")
    world.run(f"ALTER TABLE users OWNER TO {name}")
    uri = psycopg.conninfo.make_conninfo(world.auth_uri, user=name, password="plain")
    return replace(world, auth_uri=uri)


def test_a_role_that_may_make_no_scratch_space_proves_by_checksum_and_says_so_loudly(
    world: World, log: PlainLog
) -> None:
    ready(world)
    plain = without_createdb(world)
    driver = made(plain, log)
    services, revision, run = backed_up(driver)
    prove_backups(services, revision, run)
    assert proofs(services, run) == {
        "campus_auth": Proof.CHECKSUM,
        "campus_documents": Proof.RESTORE,
        "campus_objects": Proof.RESTORE,
    }
    assert "NOT PROVEN BY A RESTORE" in log.text
    assert "CREATEDB" in log.text
    assert "CREATEDB" in services.ledger.run(run.id).facts["backup"]["not_restored"]["campus_auth"]


def test_a_key_too_long_for_a_scratch_space_is_proven_by_checksum(world: World, log: PlainLog) -> None:
    ready(world)
    world.put("uploads/" + "x" * 1000, b"1")
    services, revision, run = backed_up(made(world, log))
    prove_backups(services, revision, run)
    assert proofs(services, run)["campus_objects"] is Proof.CHECKSUM
    assert (
        "has a key of 1008 bytes"
        in services.ledger.run(run.id).facts["backup"]["not_restored"]["campus_objects"]
    )


def test_where_a_restore_is_asked_for_and_cannot_be_the_run_stops(world: World, log: PlainLog) -> None:
    before = ready(world)
    driver = made(without_createdb(world), log, proof="restore")
    run = driver.go("0001")
    assert run.status is RunStatus.STOPPED
    assert "CREATEDB" in (run.error or "")
    assert "proof = checksum" in (run.error or "")
    assert world.hashes() == before


@dataclass
class Disturbing:
    """A vault that lets somebody else write to the data while a backup is written to it."""

    vault: Any
    disturb: Callable[[str], None]
    times: int
    seen: dict[str, int] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.vault, name)

    def write_many(self, folder: str, parts: Iterator[Any], *, instead_of: str = "") -> Any:
        def disturbed() -> Iterator[Any]:
            for number, part in enumerate(parts):
                yield part
                conn_id = instead_of.rpartition("/")[2]
                if number == 0 and self.seen.get(conn_id, 0) < self.times:
                    self.seen[conn_id] = self.seen.get(conn_id, 0) + 1
                    self.disturb(conn_id)

        return self.vault.write_many(folder, disturbed(), instead_of=instead_of)


def disturber(world: World) -> Callable[[str], None]:
    def disturb(conn_id: str) -> None:
        if conn_id == "campus_auth":
            world.run("INSERT INTO users SELECT 'new' || count(*), 7 FROM users")
        elif conn_id == "campus_documents":
            with pymongo.MongoClient(world.mongo_uri) as client:
                client[world.mongo_db].notes.update_one({"_id": "n0003"}, {"$inc": {"n": 1}})
                client[world.mongo_db].notes.insert_one({"n": 1})
        else:
            world.put(f"uploads/late {len(world.objects())}", b"1")

    return disturb


def test_a_worker_that_wakes_after_its_successors_backup_was_proven_writes_over_nothing(
    world: World, log: PlainLog
) -> None:
    ready(world)
    driver = made(world, log)
    services, revision, run = driver.open("0001")

    def succeed(conn_id: str) -> None:
        for database in revision.databases:
            take_backup(services, revision, run, database)
        prove_backups(services, revision, run)

    asleep = replace(services, vault=Disturbing(services.vault, succeed, times=1))
    with pytest.raises(StaleEpoch, match="are proven already"):
        take_backup(asleep, revision, run, revision.databases[0])
    for manifest in services.ledger.backups(run.id):
        read_back(services, manifest)
    assert set(proofs(services, run).values()) == {Proof.RESTORE}
    # What it wrote lies in a folder of its own, which nobody names.
    attempts = {key.split("/")[3] for key in keys(world, f"backups/{run.id}/{revision.databases[0].conn_id}")}
    assert len(attempts) == 2


def test_a_backup_that_is_written_again_while_it_is_proven_keeps_the_way_shut(
    world: World, log: PlainLog
) -> None:
    ready(world)
    driver = made(world, log)
    services, revision, run = backed_up(driver)
    first = {one.conn_id: one for one in services.ledger.backups(run.id)}["campus_objects"]
    again: list[str] = []

    def wake(place: str) -> None:
        # The last database's copy is compared next, and the first one's proof is saved.
        if place == "copy loaded" and not again and proofs(services, run)["campus_auth"] is not None:
            again.append(place)
            take_backup(services, revision, run, revision.databases[0])

    with pytest.raises(BackupNotProven, match="another attempt wrote campus_auth again"):
        prove_backups(replace(services, reached=wake), revision, run)
    assert not services.ledger.run(run.id).backed_up
    prove_backups(services, revision, run)
    assert services.ledger.run(run.id).backed_up
    assert first in services.ledger.backups(run.id)


@pytest.mark.parametrize("proof", ["checksum", "restore"])
def test_what_changes_once_while_it_is_backed_up_is_backed_up_again(
    world: World, log: PlainLog, proof: str
) -> None:
    ready(world)
    driver = made(world, log, proof=proof)
    disturb = disturber(world)
    services, revision, run = backed_up(
        driver, lambda s: replace(s, vault=Disturbing(s.vault, disturb, times=1))
    )
    prove_backups(services, revision, run)
    said = {one.conn_id: one.consistency for one in services.ledger.backups(run.id)}
    assert said["campus_auth"].startswith(
        "one snapshot of the table; written to meanwhile, which is not in it: users"
    )
    assert said["campus_documents"].startswith("each collection read once in the order of its _id")
    assert said["campus_objects"].startswith("each object copied by itself")
    assert "quiet" in said["campus_documents"]
    assert "quiet" in said["campus_objects"]
    held = {one.conn_id: one.fingerprints for one in services.ledger.backups(run.id)}
    assert held["campus_auth"]["users"].count == 50
    assert held["campus_documents"]["notes"].count == 51
    assert held["campus_objects"]["uploads/"].count == 14


def test_what_changes_each_time_is_not_proven_and_named(world: World, log: PlainLog) -> None:
    ready(world)
    driver = made(world, log)
    disturb = disturber(world)
    services, revision, run = driver.open("0001")
    services = replace(services, vault=Disturbing(services.vault, disturb, times=99))
    told = {}
    for database in revision.databases:
        try:
            take_backup(services, revision, run, database)
        except BackupNotProven as problem:
            told[database.conn_id] = str(problem)
    assert set(told) == {"campus_documents", "campus_objects"}
    assert "notes: its records differ" in told["campus_documents"]
    assert "uploads/: its records differ" in told["campus_objects"]


def reusing(world: World, log: PlainLog) -> Driver:
    """Apply and take back once, so that there is an earlier backup of all that is there."""
    driver = made(world, log, reuse_backups=True)
    assert driver.go("0001").status is RunStatus.APPLIED, log.text
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED, log.text
    return driver


def manifests(driver: Driver, run: Run) -> Mapping[str, Any]:
    return {one.conn_id: one for one in driver.services(driver.bomb).ledger.backups(run.id)}


def test_what_has_not_changed_uses_the_files_of_an_earlier_backup_and_is_proven_again(
    world: World, log: PlainLog
) -> None:
    before = ready(world)
    driver = reusing(world, log)
    first = driver.services(driver.bomb).ledger.runs()[-1]
    world.run("UPDATE users SET pad = 'changed' WHERE id = 'u0001'")
    changed = world.hashes()
    assert changed["auth"] != before["auth"]
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED, log.text
    mine, theirs = manifests(driver, run), manifests(driver, first)
    assert mine["campus_auth"].reuses == {}
    assert {file.path.split("/")[1] for file in mine["campus_auth"].files} == {run.id}
    documents = mine["campus_documents"]
    assert documents.reuses == {"notes": theirs["campus_documents"].path}
    assert documents.files == theirs["campus_documents"].files
    assert f"nothing has changed since the backup of run {first.id}" in documents.consistency
    assert keys(world, f"backups/{run.id}/campus_documents") == [mine["campus_documents"].path]
    assert set(proofs(driver.services(driver.bomb), run).values()) == {Proof.RESTORE}


def test_a_bucket_is_backed_up_anew_since_its_fingerprints_tell_nothing_of_headers(
    world: World, log: PlainLog
) -> None:
    world.put("uploads/a", b"1", **DESCRIBED)
    write(world.migrations, "0001", None, LABELLED)
    driver = reusing(world, log)
    world.put("uploads/a", b"1", **DESCRIBED, CacheControl="no-store")
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED, log.text
    mine = manifests(driver, run)["campus_objects"]
    assert mine.reuses == {}
    (listed,) = (file.path for file in mine.files if file.holds == "object list")
    body = world.s3.get_object(Bucket=world.vault, Key=listed)["Body"].read()
    assert json.loads(body)["headers"]["CacheControl"] == "no-store"


def test_headers_that_differ_and_nothing_else_are_put_back(world: World, log: PlainLog) -> None:
    for key in ("uploads/a", "uploads/b"):
        world.put(key, b"1", **DESCRIBED, CacheControl="no-store")
    write(world.migrations, "0001", None, LABELLED)
    driver = made(world, log)
    services, revision, run = backed_up(driver)
    (database,) = revision.databases
    (manifest,) = services.ledger.backups(run.id)
    world.put("uploads/a", b"1", **DESCRIBED, CacheControl="max-age=60")

    def put_back() -> Adopted:
        return put_back_database(services, database, manifest, touched_in(revision, database))

    assert put_back() == Adopted(written=1)
    assert world.s3.head_object(Bucket=world.bucket, Key="uploads/a")["CacheControl"] == "no-store"
    assert put_back() == Adopted()


def test_what_is_used_again_can_be_put_back_and_is_used_again_from_where_it_lies(
    world: World, log: PlainLog
) -> None:
    ready(world)
    driver = reusing(world, log)
    first = driver.services(driver.bomb).ledger.runs()[-1]
    before = world.hashes()
    for _ in range(2):
        # Once it is applied, so that nothing but the verification is to fail: a revision that never holds.
        driver.bomb = failing_at_the_end()
        run = driver.go("0001", on_failure="restore")
        assert run.status is RunStatus.ROLLED_BACK, log.text
        assert world.hashes() == before
        held = manifests(driver, run)["campus_documents"]
        assert held.reuses == {"notes": manifests(driver, first)["campus_documents"].path}


def failing_at_the_end() -> Callable[[str], None]:
    from three_stores import BATCHES, Failing

    return Failing("batch written", BATCHES)


def test_a_byte_that_flipped_in_what_is_used_again_stops_the_run(world: World, log: PlainLog) -> None:
    ready(world)
    driver = reusing(world, log)
    first = driver.services(driver.bomb).ledger.runs()[-1]
    key = next(key for key in keys(world, f"backups/{first.id}/") if key.endswith(".bson"))
    body = bytearray(world.s3.get_object(Bucket=world.vault, Key=key)["Body"].read())
    body[len(body) // 2] ^= 1
    world.s3.put_object(Bucket=world.vault, Key=key, Body=bytes(body))
    run = driver.go("0001")
    assert run.status is RunStatus.STOPPED
    assert key in (run.error or "")


def test_a_backup_that_was_not_proven_or_is_found_broken_is_not_used_again(
    world: World, log: PlainLog
) -> None:
    ready(world)
    driver = reusing(world, log)
    services = driver.services(driver.bomb)
    world.run(
        "UPDATE _migration_backups SET proof = NULL WHERE conn_id = 'campus_documents'", world.ledger_uri
    )
    for one in services.ledger.stored_backups(conn_id="campus_objects"):
        services.ledger.backup_checked(one.manifest, problem="a file is gone")
    run = driver.go("0001")
    assert run.status is RunStatus.APPLIED, log.text
    mine = manifests(driver, run)
    assert mine["campus_documents"].reuses == {}
    assert mine["campus_objects"].reuses == {}


def test_without_the_word_nothing_is_used_again(world: World, log: PlainLog) -> None:
    ready(world)
    driver = made(world, log)
    assert driver.go("0001").status is RunStatus.APPLIED
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED
    run = driver.go("0001")
    assert {one.conn_id for one in manifests(driver, run).values() if not one.reuses} == {
        "campus_auth",
        "campus_documents",
        "campus_objects",
    }


class Slow:
    """A vault that takes its time to give an object back."""

    def __init__(self, vault: Any, look: Callable[[], None]) -> None:
        self.vault, self.look = vault, look

    def __getattr__(self, name: str) -> Any:
        return getattr(self.vault, name)

    def digest(self, path: str) -> tuple[int, str]:
        self.look()
        return self.vault.digest(path)  # type: ignore[no-any-return]


def test_the_lease_is_kept_while_a_proof_takes_long(world: World, log: PlainLog) -> None:
    import time

    ready(world)
    driver = made(world, log, lease_seconds=1.0)
    services, revision, run = backed_up(driver)
    ages: list[float | None] = []

    def look() -> None:
        if not ages:
            time.sleep(2.5)
            ages.append(services.ledger.lease_age(run.id))

    prove_backups(replace(services, vault=Slow(services.vault, look)), revision, run)  # type: ignore[arg-type]
    assert ages[0] is not None
    assert ages[0] < 0


def test_a_vault_that_does_not_answer_is_worth_a_retry(world: World, log: PlainLog) -> None:
    ready(world)
    driver = made(world, log)
    services, revision, run = backed_up(driver)

    def away() -> None:
        raise Unavailable("the vault does not answer")

    with pytest.raises(Unavailable):
        prove_backups(replace(services, vault=Slow(services.vault, away)), revision, run)  # type: ignore[arg-type]
    prove_backups(services, revision, run)
    assert driver.phase(revision, run, "upgrade")
    assert counters(world)[0] == 2


def test_the_proof_is_said_to_the_world(world: World, log: PlainLog) -> None:
    ready(world)
    driver = made(world, log)
    driver.go("0001")
    (data,) = world.rows("SELECT data FROM events WHERE label = 'migration.backed_up'", world.yapper_uri)[0]
    assert '"campus_documents": "restore"' in data
