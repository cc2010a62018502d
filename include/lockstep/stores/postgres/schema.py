"""Lockstep's own schema inside a target database: made, and brought up to date, by whoever comes first."""

from __future__ import annotations

from importlib.resources import files

from lockstep.domain.errors import Refused
from lockstep.stores.postgres.errors import Address
from lockstep.stores.postgres.text import Conn, one, raw, run

#: each version up to this one has a file, schema_<version>.sql, that makes it of the one before
VERSION = 2
#: where parked tables live
PARKED = "lockstep_parked"
#: names of parked columns start so
PARKED_COLUMN = "_lockstep_"

#: Whether the schema is there at all. A look into the catalog itself: to_regclass answers from a cache, which
#: waiting for an advisory lock does not refresh.
IS_THERE = """
SELECT EXISTS (SELECT FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
               WHERE n.nspname = 'lockstep_state' AND c.relname = 'schema_version')
"""

#: Let one transaction at a time make it. A transaction's lock, so that it survives a transaction pooler.
ONE_AT_A_TIME = "SELECT pg_advisory_xact_lock(hashtextextended('lockstep schema', 0))"

#: To change its tables is to wait for those that work with them, and whoever comes later waits for us: not for long.
GIVE_WAY = "SELECT set_config('lock_timeout', '5s', true)"

#: Which version is there.
WHICH = "SELECT max(version) FROM lockstep_state.schema_version"


def ensure(conn: Conn, address: Address) -> int:
    """Make the schema, or what it lacks, and return its version; Refused for one from the future."""
    version = _version(conn)
    if version < VERSION:
        run(conn, ONE_AT_A_TIME)
        run(conn, GIVE_WAY)
        # Asked again: whoever held the lock has most likely done it.
        for missing in range(_version(conn) + 1, VERSION + 1):
            file = files(__package__).joinpath(f"schema_{missing}.sql")
            conn.execute(raw(file.read_text(encoding="utf-8")))
        version = _version(conn)
    if version > VERSION:
        raise Refused(
            f"PostgreSQL, {address}: schema lockstep_state has version {version}, and this Lockstep knows "
            f"{VERSION}. Install the Lockstep that made it, or a later one.",
            conn_id=address.conn_id,
            version=version,
        )
    return version


def _version(conn: Conn) -> int:
    """Return the version that is there, 0 for none."""
    found: int = one(conn, WHICH)[0] if one(conn, IS_THERE)[0] else 0
    return found
