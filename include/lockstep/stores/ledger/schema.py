"""The ledger's own schema: numbered files, installed once each, in order."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

from psycopg import errors as pg

from lockstep.domain.errors import Refused
from lockstep.stores.ledger.connect import Connections, Db

# Whether any version is. Not to_regclass: its cache may miss what was committed while we waited for the lock.
_IS_INSTALLED = """
    SELECT EXISTS (
        SELECT FROM pg_class
        WHERE relname = '_migration_schema' AND relnamespace = 'public'::regnamespace
    ) AS installed
"""
# Which version is installed.
_VERSION = "SELECT max(version) AS version FROM _migration_schema"
# Two processes that start together install one after the other; the lock ends with the transaction.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('lockstep ledger schema', 0))"
# What was installed.
_RECORD = "INSERT INTO _migration_schema (version, name) VALUES (%s, %s)"
# What the server says of itself.
_FACTS = "SELECT current_setting('server_version') AS server, current_database() AS database"


@dataclass(frozen=True, kw_only=True)
class SchemaFile:
    """One numbered file of the ledger's schema."""

    version: int
    name: str
    sql: str


def schema_files() -> list[SchemaFile]:
    """Return the numbered files in order."""
    folder = files("lockstep.stores.ledger") / "migrations"
    found = sorted((one for one in folder.iterdir() if one.name.endswith(".sql")), key=lambda one: one.name)
    return [
        SchemaFile(version=int(one.name[:4]), name=one.name, sql=one.read_text(encoding="utf-8"))
        for one in found
    ]


def check(connections: Connections) -> dict[str, str]:
    """Bring the schema up to date; return server facts. Refused for a schema newer than this package."""
    known = schema_files()
    found = look(connections)
    if int(found["schema"]) < known[-1].version:
        install(connections, known)
    return {**found, "schema": str(known[-1].version)}


def look(connections: Connections) -> dict[str, str]:
    """Return server facts, and the version that is installed. Refused for a schema newer than this package."""
    newest = schema_files()[-1].version
    with connections.transaction() as db:
        version = installed_version(db)
        facts = db.execute(_FACTS).fetchone() or {}
    if version > newest:
        raise Refused(
            f"the ledger ({connections.conn_id}, {connections.address}) has schema version {version}, and "
            f"this Lockstep knows {newest}. Upgrade Lockstep here.",
            conn_id=connections.conn_id,
        )
    return {
        "server": f"PostgreSQL {facts['server']}",
        "database": str(facts["database"]),
        "address": connections.address,
        "schema": str(version),
    }


def install(connections: Connections, known: list[SchemaFile]) -> None:
    """Install what is missing, all of it or nothing; Refused for a role that does not own the tables."""
    try:
        with connections.transaction(seconds=600) as db:
            db.execute(_LOCK)
            version = installed_version(db)
            for file in known:
                if file.version > version:
                    _install_one(db, file, connections)
    except Refused as problem:
        if not isinstance(problem.__cause__, pg.InsufficientPrivilege):
            raise
        raise Refused(
            f"the ledger ({connections.conn_id}, {connections.address}) has not the schema version "
            f"{known[-1].version} of this Lockstep, and the role that logs in there may not change its tables. Run "
            "`lockstep audit schema` once as the role that owns them (LOCKSTEP_LEDGER_URI), then `lockstep audit grants` "
            "for this one.",
            conn_id=connections.conn_id,
        ) from problem


def _install_one(db: Db, file: SchemaFile, connections: Connections) -> None:
    try:
        db.execute(file.sql)
    except (pg.DuplicateTable, pg.DuplicateObject) as error:
        raise Refused(
            f"the ledger ({connections.conn_id}, {connections.address}) cannot make its tables: "
            f"{error.diag.message_primary}, and it is not Lockstep's. Rename it, or give the ledger a "
            "database of its own.",
            conn_id=connections.conn_id,
        ) from error
    db.execute(_RECORD, [file.version, file.name])


def installed_version(db: Db) -> int:
    """Return the version that is installed, 0 for none."""
    row = db.execute(_IS_INSTALLED).fetchone()
    if row is None or not row["installed"]:
        return 0
    found = db.execute(_VERSION).fetchone()
    return (found and found["version"]) or 0
