"""A role that has what `lockstep audit grants` gives it runs migrations, and cannot change what the history says."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest
from driver import Driver, PlainLog
from psycopg.conninfo import make_conninfo
from revisions import write
from test_audit import ADD, SETUP
from world import World, factory_of

from lockstep.domain.errors import Refused
from lockstep.domain.status import RunStatus
from lockstep.stores.ledger import PostgresLedger
from lockstep.stores.ledger.grants import grants, tables

DENIED = psycopg.errors.InsufficientPrivilege
#: what would change the history, or make that possible
ATTEMPTS = (
    "UPDATE _migration_history SET who = 'nobody'",
    "DELETE FROM _migration_history",
    "TRUNCATE _migration_history",
    "ALTER TABLE _migration_history DISABLE TRIGGER ALL",
    "DROP TRIGGER _migration_history_append_only ON _migration_history",
    "DROP TABLE _migration_history",
    "ALTER TABLE _migration_history OWNER TO CURRENT_USER",
    "CREATE OR REPLACE FUNCTION _migration_history_is_append_only() RETURNS trigger LANGUAGE plpgsql"
    " AS $$ BEGIN RETURN NULL; END $$",
    "CREATE RULE quietly AS ON INSERT TO _migration_history DO INSTEAD NOTHING",
    "SET session_replication_role = replica",
    "DELETE FROM _migration_chain",
    "UPDATE _migration_segments SET sha256 = ''",
    "DELETE FROM _migration_segments",
    "UPDATE _migration_schema SET name = ''",
)
#: what the rights allow and the triggers do not
CAUGHT = (
    "UPDATE _migration_chain SET last_id = 1, last_hash = ''",
    "INSERT INTO _migration_history SELECT id + 100, at, revision, run_id, kind, from_status, to_status, reason,"
    " who, detail, prev_hash, hash FROM _migration_history WHERE id = 1",
)


@pytest.fixture
def role(world: World) -> Iterator[str]:
    """Make a role that owns nothing."""
    name = f"lockstep app {uuid.uuid4().hex[:8]}"
    with psycopg.connect(world.ledger_uri, autocommit=True) as db:
        db.execute(f"CREATE ROLE \"{name}\" LOGIN PASSWORD 'pass'")
        yield name
        db.execute(f'DROP OWNED BY "{name}"')
        db.execute(f'DROP ROLE "{name}"')


def test_a_whole_run_under_a_role_that_cannot_change_the_history(world: World, role: str) -> None:
    uri = make_conninfo(world.ledger_uri, user=role, password="pass")
    ledger = PostgresLedger(uri)
    with pytest.raises(Refused, match="lockstep audit schema"):
        ledger.check()
    PostgresLedger(world.ledger_uri).check()
    with psycopg.connect(world.ledger_uri, autocommit=True) as db:
        db.execute(grants(role).encode())

    world.run(SETUP)
    write(world.migrations, "0001", None, ADD)
    log = PlainLog()
    make = factory_of(world, log)
    driver = Driver(
        services=lambda reached: replace(make(reached), ledger=ledger),
        migrations=world.migrations,
        log=log,
        shards=1,
    )
    assert driver.go("0001").status is RunStatus.APPLIED, log.text
    assert driver.go("0001", "downgrade").status is RunStatus.DOWNGRADED, log.text
    services = driver.services(driver.bomb)
    assert services.ledger.archived() == services.ledger.history_head().id

    before = services.ledger.history()
    with psycopg.connect(uri, autocommit=True) as db:
        for attempt in ATTEMPTS:
            with pytest.raises(DENIED):
                db.execute(attempt.encode())
        for attempt in CAUGHT:
            with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
                db.execute(attempt.encode())
    assert services.ledger.history() == before
    assert services.ledger.broken_link() is None


def test_a_role_that_owns_nothing_is_told_who_brings_the_schema_up_to_date(world: World, role: str) -> None:
    PostgresLedger(world.ledger_uri).check()
    world.run(grants(role), world.ledger_uri)
    world.run("DELETE FROM _migration_schema WHERE version = (SELECT max(version) FROM _migration_schema)",
              world.ledger_uri)  # fmt: skip
    with pytest.raises(Refused, match=r"may not change its tables.*lockstep audit grants"):
        PostgresLedger(make_conninfo(world.ledger_uri, user=role, password="pass")).check()


def test_the_owner_too_is_refused_while_the_triggers_are_there(world: World) -> None:
    PostgresLedger(world.ledger_uri).check()
    with psycopg.connect(world.ledger_uri, autocommit=True) as db:
        for table in ("_migration_history", "_migration_segments", "_migration_chain"):
            for statement in (f"DELETE FROM {table}", f"TRUNCATE {table}"):
                db.execute("SET session_replication_role = replica")
                with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState):
                    db.execute(statement.encode())


def test_every_table_of_the_ledger_is_granted(world: World) -> None:
    PostgresLedger(world.ledger_uri).check()
    there = {name for (name,) in world.rows(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public'", world.ledger_uri)}  # fmt: skip
    assert set(tables()) == there
    assert all(f"public.{name}" in grants("someone") for name in there)
