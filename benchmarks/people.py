"""The table that is changed, how a fresh one is had, and how its content is compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg.sql import SQL, Composed, Identifier, Literal

from benchmarks.comparing import Content

if TYPE_CHECKING:
    from typing_extensions import LiteralString

#: What display_name becomes; benchmarks/project/revisions has the same.
DISPLAY_NAME = "first_name || ' ' || upper(last_name)"

#: Fill the table: the key in the order of insertion, several texts, a jsonb column, one to fill later.
MAKE = """
CREATE TABLE people AS
SELECT 'p' || lpad(n::text, 10, '0') AS id,
       (ARRAY['Ada', 'Boris', 'Chen', 'Dalia', 'Emeka', 'Farah', 'Goran', 'Hana'])[1 + n % 8] AS first_name,
       initcap(translate(substr(md5(n::text), 1, 9), '0123456789', 'ghijklmnop')) AS last_name,
       substr(md5(n::text), 1, 12) || '@example.org' AS email,
       (ARRAY['Singapore', 'Ljubljana', 'Accra', 'Lima', 'Oslo'])[1 + n % 5] AS city,
       'Came by way of ' || md5((n * 7)::text) AS note,
       jsonb_build_object('plan', n % 3, 'logins', n % 977, 'tags', jsonb_build_array('a' || n % 7, 'b')) AS profile,
       timestamptz '2024-01-01 00:00:00+00' + n * interval '1 second' AS created_at,
       NULL::text AS display_name
FROM generate_series(1, {rows}) AS n
"""

#: Give it a key, statistics and a visibility map, and let nothing be left to write.
FINISH = (
    "ALTER TABLE people ADD PRIMARY KEY (id)",
    "VACUUM (ANALYZE, FREEZE) people",
    "CHECKPOINT",
)

#: Copy a whole database, file by file: indexes, statistics and visibility map are what they were.
COPY = "CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"

#: The rows and one number that any other row, or any other value, would change.
CONTENT = """
SELECT count(*), sum(hashtextextended(
    ROW(id, first_name, last_name, email, city, note, profile, created_at, {display_name})::text, 0
))::text FROM people
"""

#: The same of the rows that a script which commits each of them got to.
FIRST = " WHERE id <= 'p' || lpad({rows}::text, 10, '0')"

#: Bytes of the table without its indexes.
SIZE = "SELECT pg_table_size('people')"

Conn = psycopg.Connection[Any]


@dataclass(frozen=True, kw_only=True)
class Template:
    """A database that holds the table as it is before anything changes it."""

    dbname: str
    rows: int
    #: bytes
    size: int
    #: what the table is to hold once it is changed
    wanted: Content


def make_template(admin: str, uri: str, dbname: str, rows: int) -> Template:
    """Fill a new database; `admin` and `uri`: libpq URIs of another database and of this one."""
    create(admin, dbname)
    with psycopg.connect(uri, autocommit=True) as conn:
        conn.execute(SQL(MAKE).format(rows=Literal(rows)))
        for statement in FINISH:
            conn.execute(SQL(statement))
        size = _one(conn, SQL(SIZE))[0]
        wanted = content_in(conn, DISPLAY_NAME)
    return Template(dbname=dbname, rows=rows, size=size, wanted=wanted)


def fresh(admin: str, template: Template, dbname: str) -> None:
    """Put a fresh copy of the template in a database's place: nobody inherits another's dead rows."""
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(dbname)))
        conn.execute(SQL(COPY).format(name=Identifier(dbname), template=Identifier(template.dbname)))
        conn.execute("CHECKPOINT")


def create(admin: str, dbname: str) -> None:
    """Make an empty database."""
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(SQL("CREATE DATABASE {}").format(Identifier(dbname)))


def drop(admin: str, dbname: str) -> None:
    with psycopg.connect(admin, autocommit=True) as conn:
        conn.execute(SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(Identifier(dbname)))


def content(uri: str, first: int | None = None) -> Content:
    """Return what the table holds, or its first rows."""
    with psycopg.connect(uri, autocommit=True) as conn:
        return content_in(conn, "display_name", first)


def wanted_of_first(uri: str, first: int) -> Content:
    """Return what the first rows are to hold, from a table that may be changed or not."""
    with psycopg.connect(uri, autocommit=True) as conn:
        return content_in(conn, DISPLAY_NAME, first)


def content_in(conn: Conn, display_name: LiteralString, first: int | None = None) -> Content:
    statement = SQL(CONTENT).format(display_name=SQL(display_name))
    if first is not None:
        statement += SQL(FIRST).format(rows=Literal(first))
    count, total = _one(conn, statement)
    return count, total


def size(uri: str) -> int:
    """Return the table's bytes."""
    with psycopg.connect(uri, autocommit=True) as conn:
        return int(_one(conn, SQL(SIZE))[0])


def database_size(uri: str) -> int:
    """Return a database's bytes."""
    with psycopg.connect(uri, autocommit=True) as conn:
        return int(_one(conn, SQL("SELECT pg_database_size(current_database())"))[0])


def _one(conn: Conn, statement: Composed | SQL) -> Any:
    row = conn.execute(statement).fetchone()
    assert row is not None
    return row
