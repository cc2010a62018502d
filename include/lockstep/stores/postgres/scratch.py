"""Scratch databases: empty ones of Lockstep's own, on the server of the database that they copy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import Connection
from psycopg.conninfo import make_conninfo

from lockstep.domain.errors import Refused
from lockstep.domain.scratch import SCRATCH, refuse_live
from lockstep.stores.postgres.carry import ident
from lockstep.stores.postgres.connect import Connector
from lockstep.stores.postgres.errors import translated
from lockstep.stores.postgres.text import Conn, one, raw, run

#: How the live database is made: its encoding, and its row of the catalog, which has other columns in each version.
LIVE = """
SELECT datname, pg_encoding_to_char(encoding), to_jsonb(d) FROM pg_database d WHERE datname = current_database()
"""

#: What the live database sets for each session, as far as anybody may set it: a search path, most likely.
SETTINGS = """
SELECT DISTINCT split_part(given, '=', 1) AS name
FROM pg_db_role_setting r JOIN pg_database d ON d.oid = r.setdatabase, unnest(r.setconfig) AS given
LEFT JOIN pg_settings s ON s.name = split_part(given, '=', 1)
WHERE d.datname = current_database() AND r.setrole IN (0, current_user::regrole) AND coalesce(s.context, 'user') = 'user'
ORDER BY 1
"""

#: Every scratch database of the server.
SCRATCHES = "SELECT datname FROM pg_database WHERE starts_with(datname, %(prefix)s) ORDER BY 1"

#: Not in a transaction, and ending whoever is still in it: our own connections, most likely.
DROP = "DROP DATABASE IF EXISTS {name} WITH (FORCE)"

#: Words of CREATE DATABASE, and the columns of the catalog that fill them, one of them by version.
WORDS = (
    ("LC_COLLATE", ("datcollate",)),
    ("LC_CTYPE", ("datctype",)),
    ("ICU_LOCALE", ("daticulocale", "datlocale")),
    ("ICU_RULES", ("daticurules",)),
)
#: where locales come from, by the letter in the catalog
PROVIDERS = {"c": "libc", "i": "icu", "b": "builtin"}


def open_scratch(connector: Connector, name: str) -> str:
    """Make an empty database of this name like the live one; return the conninfo that leads to it, password and all.

    Raises Refused where the role may not create databases. A pooler knows nothing of it and is gone past.
    """
    with _beside(connector, name) as (conn, params):
        _, encoding, live = _live(conn)
        with _refusing(connector, name):
            perform(conn, DROP.format(name=ident(name)))
            perform(conn, _create(name, encoding, live))
            for setting in [setting for (setting,) in conn.execute(raw(SETTINGS))]:
                perform(conn, f"ALTER DATABASE {ident(name)} SET {ident(setting)} FROM CURRENT")
    return make_conninfo(**{**params, "dbname": name})


def drop_scratch(connector: Connector, name: str) -> None:
    """Drop a scratch database and end whoever is in it; one that is not there is fine."""
    with _beside(connector, name) as (conn, _), _refusing(connector, name):
        perform(conn, DROP.format(name=ident(name)))


def scratches(connector: Connector) -> list[str]:
    """Return the names of the server's scratch databases."""
    with connector.transaction(snapshot=True) as conn:
        return [name for (name,) in run(conn, SCRATCHES, {"prefix": SCRATCH})]


def perform(conn: Connection[Any], statement: str) -> None:
    conn.execute(raw(statement))


@contextmanager
def _beside(connector: Connector, name: str) -> Iterator[tuple[Conn, dict[str, Any]]]:
    """Give a connection to the live database itself that is in no transaction, and its libpq parameters."""
    with connector.transaction(snapshot=True) as conn:
        refuse_live(name, {one(conn, "SELECT current_database()")[0]})
        params = connector.past_pooler(conn)
    with translated(connector.address):
        own = psycopg.connect(make_conninfo(**params), autocommit=True, prepare_threshold=None)
        with own:
            yield own, params


@contextmanager
def _refusing(connector: Connector, name: str) -> Iterator[None]:
    """Name the right that the role lacks."""
    try:
        yield
    except psycopg.errors.InsufficientPrivilege as problem:
        raise Refused(
            f"PostgreSQL, {connector.address}: the role may not make or drop the scratch database {name}: "
            f"{problem.diag.message_primary}. It needs CREATEDB: ALTER ROLE <the role that the Airflow connection "
            f"{connector.address.conn_id!r} logs in as> CREATEDB; or do without proof by restore (proof = checksum).",
            conn_id=connector.address.conn_id,
            right="CREATEDB",
            name=name,
        ) from problem


def _live(conn: Conn) -> tuple[str, str, Mapping[str, Any]]:
    name, encoding, row = one(conn, LIVE)
    return name, encoding, row


def _create(name: str, encoding: str, live: Mapping[str, Any]) -> str:
    """Word CREATE DATABASE: of template0, which holds nothing, with the encoding and the locale of the live one."""
    words = [f"CREATE DATABASE {ident(name)} TEMPLATE template0 ENCODING {_text(encoding)}"]
    provider = PROVIDERS.get(str(live.get("datlocprovider") or "c"), "libc")
    for word, columns in WORDS:
        value = next((live[column] for column in columns if live.get(column)), None)
        if value is None or (word.startswith("ICU") and provider == "libc"):
            continue
        words.append(
            f"{'BUILTIN_LOCALE' if provider == 'builtin' and word == 'ICU_LOCALE' else word} {_text(value)}"
        )
    if "datlocprovider" in live:
        words.append(f"LOCALE_PROVIDER {provider}")
    return " ".join(words)


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
