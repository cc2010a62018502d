"""Ledgers of rehearsals: scratch databases on the server of the real one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.sql import SQL, Identifier

from lockstep.domain.errors import Refused
from lockstep.domain.scratch import SCRATCH, refuse_live
from lockstep.stores.ledger.errors import translated

# Ends whoever is still in it: a try that was killed, most likely.
_DROP = "DROP DATABASE IF EXISTS {} WITH (FORCE)"
# Of template0: whatever a site keeps in template1 is no ledger's.
_MAKE = "CREATE DATABASE {} TEMPLATE template0 ENCODING 'UTF8'"
# Every scratch database of the server.
_LIST = "SELECT datname FROM pg_database WHERE starts_with(datname, %s) ORDER BY 1"
#: seconds until a server that does not answer counts as down
CONNECT_TIMEOUT = 10


def make_scratch(conninfo: str, name: str, *, conn_id: str) -> str:
    """Make an empty database beside the ledger's, dropping one of that name; return the conninfo that leads to it.

    `conninfo`: the real ledger's. Refused, naming the right, where its role may create no databases.
    """
    with _beside(conninfo, name, conn_id) as conn:
        conn.execute(SQL(_DROP).format(Identifier(name)))
        conn.execute(SQL(_MAKE).format(Identifier(name)))
    return make_conninfo(conninfo, dbname=name)


def drop_scratch(conninfo: str, name: str, *, conn_id: str) -> None:
    """Drop a scratch database; one that is not there is fine."""
    with _beside(conninfo, name, conn_id) as conn:
        conn.execute(SQL(_DROP).format(Identifier(name)))


def scratches(conninfo: str, *, conn_id: str) -> list[str]:
    """Return the names of all scratch databases on the ledger's server."""
    with translated(conn_id, "its server"), _connected(conninfo) as conn:
        return [name for (name,) in conn.execute(_LIST, [SCRATCH])]


@contextmanager
def _beside(conninfo: str, name: str, conn_id: str) -> Iterator[psycopg.Connection[tuple[str, ...]]]:
    """Give a connection to the ledger's own database, in no transaction."""
    refuse_live(name, {str(conninfo_to_dict(conninfo).get("dbname") or "")})
    try:
        with translated(conn_id, "its server"), _connected(conninfo) as conn:
            yield conn
    except Refused as problem:
        if not isinstance(problem.__cause__, pg.InsufficientPrivilege):
            raise
        raise Refused(
            f"the ledger's role may not make or drop the scratch database {name}. A rehearsal has a ledger of its own: "
            f"grant CREATEDB to the role that the Airflow connection {conn_id!r} logs in as.",
            conn_id=conn_id,
            right="CREATEDB",
        ) from problem


@contextmanager
def _connected(conninfo: str) -> Iterator[psycopg.Connection[tuple[str, ...]]]:
    given: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, "application_name": "lockstep"}
    whole = make_conninfo(**{**given, **conninfo_to_dict(conninfo)})
    with psycopg.connect(whole, autocommit=True, prepare_threshold=None) as conn:
        yield conn
