"""The ledger's own schema installs itself, upgrades itself and says what it is."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from ledgers import fresh_database, fresh_ledger, opened, sql, wait_until_blocked

from lockstep.domain.errors import Refused, Unavailable
from lockstep.domain.status import RunStatus, Status
from lockstep.stores.ledger import PostgresLedger
from lockstep.stores.ledger.schema import schema_files

if TYPE_CHECKING:
    from addresses import Addresses

CATALOG = {
    "columns": """
        SELECT c.relname, row_number() OVER (PARTITION BY c.relname ORDER BY a.attnum), a.attname,
               format_type(a.atttypid, a.atttypmod), a.attnotnull,
               a.attidentity::text, pg_get_expr(d.adbin, d.adrelid)
        FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
        LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attnum > 0
          AND NOT a.attisdropped
        ORDER BY 1, 2
    """,
    "constraints": """
        SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2
    """,
    "indexes": """
        SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2
    """,
    "triggers": """
        SELECT tgrelid::regclass::text, tgname, pg_get_triggerdef(oid), tgenabled::text FROM pg_trigger
        WHERE NOT tgisinternal ORDER BY 1, 2
    """,
    "functions": """
        SELECT proname, pg_get_functiondef(oid) FROM pg_proc
        WHERE pronamespace = 'public'::regnamespace ORDER BY 1
    """,
    "sequences": """
        SELECT sequencename, data_type::text, increment_by, cycle FROM pg_sequences
        WHERE schemaname = 'public' ORDER BY 1
    """,
    "chain": "SELECT * FROM _migration_chain",
}


@pytest.fixture
def database(servers: Addresses) -> Iterator[str]:
    with fresh_database(servers) as conninfo:
        yield conninfo


def catalog(conninfo: str) -> dict[str, list[Any]]:
    with psycopg.connect(conninfo) as db:
        return {name: db.execute(query).fetchall() for name, query in CATALOG.items()}


def test_schema_sql_is_the_sum_of_the_numbered_migrations(servers: Addresses, database: str) -> None:
    whole = (files("lockstep.stores.ledger") / "schema.sql").read_text(encoding="utf-8")
    with sql(database) as db:
        db.execute(whole)
    with fresh_ledger(servers) as (_, conninfo):
        assert catalog(database) == catalog(conninfo)


def test_the_numbered_migrations_count_from_one_without_gaps() -> None:
    versions = [file.version for file in schema_files()]
    assert versions == list(range(1, len(versions) + 1))


@pytest.mark.parametrize("version", range(len(schema_files())))
def test_an_older_schema_is_brought_up_to_date(servers: Addresses, database: str, version: int) -> None:
    with sql(database) as db:
        for file in schema_files()[:version]:
            db.execute(file.sql)
            db.execute(
                "INSERT INTO _migration_schema (version, name) VALUES (%s, %s)", [file.version, file.name]
            )
    ledger = PostgresLedger(database)
    facts = ledger.check()
    assert facts["schema"] == str(schema_files()[-1].version)
    assert facts["server"].startswith("PostgreSQL ")
    ledger.close()
    with fresh_ledger(servers) as (_, conninfo):
        assert catalog(database) == catalog(conninfo)


def test_two_processes_that_check_at_once_install_the_schema_once(database: str) -> None:
    with sql(database) as first, ThreadPoolExecutor(2) as pool:
        first.execute("BEGIN")
        first.execute("SELECT pg_advisory_xact_lock(hashtextextended('lockstep ledger schema', 0))")
        ledgers = [PostgresLedger(database), PostgresLedger(database)]
        checks = [pool.submit(ledger.check) for ledger in ledgers]
        wait_until_blocked(database, 2)
        first.execute("COMMIT")
        assert [check.result()["schema"] for check in checks] == [str(len(schema_files()))] * 2
        for ledger in ledgers:
            ledger.close()


def test_a_schema_newer_than_this_package_is_refused(servers: Addresses) -> None:
    with fresh_ledger(servers) as (ledger, conninfo):
        with sql(conninfo) as db:
            db.execute("INSERT INTO _migration_schema (version, name) VALUES (9999, 'from the future')")
        with pytest.raises(Refused, match=r"version 9999.*Upgrade Lockstep"):
            ledger.check()


def test_a_foreign_migrations_table_is_refused_and_left_alone(database: str) -> None:
    with sql(database) as db:
        db.execute("CREATE TABLE _migrations (id int)")
    ledger = PostgresLedger(database)
    with pytest.raises(Refused, match=r'"_migrations" already exists.*database of its own'):
        ledger.check()
    ledger.close()
    with sql(database) as db:
        assert db.execute("SELECT to_regclass('_migration_schema') AS found").fetchone() == {"found": None}


def test_without_a_schema_every_call_says_what_makes_one(database: str) -> None:
    ledger = PostgresLedger(database)
    for call in (ledger.revisions, ledger.pending_events, lambda: ledger.unit().__enter__()):
        with pytest.raises(Refused, match=r"lacks its tables.*check\(\)"):
            call()
    ledger.close()


def test_the_status_checks_know_every_status_and_no_other(servers: Addresses) -> None:
    with fresh_ledger(servers) as (ledger, conninfo):
        opened(ledger, status=RunStatus.STOPPED)
        with sql(conninfo) as db:
            for status in Status:
                db.execute("UPDATE _migrations SET status = %s", [status.value])
            for run_status in RunStatus:
                db.execute("UPDATE _migration_runs SET status = %s", [run_status.value])
            for table in ("_migrations", "_migration_runs"):
                with pytest.raises(psycopg.errors.CheckViolation):
                    db.execute(f"UPDATE {table} SET status = 'done'")


def test_a_wrong_password_is_refused_naming_the_connection_and_not_the_password(servers: Addresses) -> None:
    ledger = PostgresLedger(psycopg.conninfo.make_conninfo(servers.postgres, password="not-this-one"))
    with pytest.raises(Refused, match=r"Airflow connection 'lockstep_ledger'") as caught:
        ledger.check()
    assert not caught.value.transient
    assert "not-this-one" not in repr(caught.value.__cause__) + str(caught.value) + repr(ledger)


def test_a_missing_database_is_refused_naming_the_connection(servers: Addresses) -> None:
    ledger = PostgresLedger(servers.postgres_uri("no_such_database"), conn_id="my_ledger")
    with pytest.raises(Refused, match=r"'my_ledger'.*schema"):
        ledger.check()


def test_a_server_that_is_down_is_unavailable_naming_its_address() -> None:
    ledger = PostgresLedger("postgresql://me:secret@127.0.0.1:1/x")
    with pytest.raises(Unavailable, match=r"127\.0\.0\.1:1/x") as caught:
        ledger.check()
    assert "secret" not in str(caught.value) + repr(ledger)


@pytest.mark.parametrize("conninfo", ["host=x passwort=secret", "postgresql://me:secret@[x/y", "secret"])
def test_an_address_that_is_none_is_refused_without_quoting_it(conninfo: str) -> None:
    with pytest.raises(Refused, match="does not make a PostgreSQL address") as caught:
        PostgresLedger(conninfo)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_connection_that_died_while_idle_is_replaced(servers: Addresses) -> None:
    with fresh_ledger(servers) as (ledger, conninfo):
        ledger.revisions()
        with sql(conninfo) as db:
            db.execute(
                "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        assert ledger.revisions() == {}


FORKS = """
import os
from lockstep.stores.ledger import PostgresLedger

ledger = PostgresLedger(os.environ["CONNINFO"])
ledger.revisions()
child = os.fork()
if not child:
    ledger.revisions()
    del ledger
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
child = os.fork()
if not child:
    del ledger
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
(idle,) = ledger._connections._idle
assert ledger.revisions() == {} and ledger._connections._idle == [idle]
"""


def test_a_forked_child_leaves_its_parents_connections_alone(servers: Addresses) -> None:
    with fresh_ledger(servers) as (_, conninfo):
        ended = subprocess.run(
            [sys.executable, "-W", "error", "-c", FORKS],
            env={**os.environ, "CONNINFO": conninfo},
            capture_output=True,
            text=True,
            check=False,
        )
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_connection_that_dies_in_a_unit_is_unavailable_and_nothing_is_written(servers: Addresses) -> None:
    def note_twice(ledger: PostgresLedger, conninfo: str) -> None:
        with ledger.unit() as unit:
            unit.note("r1", "said", {})
            with sql(conninfo) as db:
                db.execute(
                    "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND state = 'idle in transaction'"
                )
            unit.note("r1", "said again", {})

    with fresh_ledger(servers) as (ledger, conninfo):
        opened(ledger)
        with pytest.raises(Unavailable):
            note_twice(ledger, conninfo)
        assert ledger.history() == []
