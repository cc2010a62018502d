"""psycopg's errors, translated: what may pass on a retry, what the operator mends, what the data is to blame for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import psycopg

from lockstep.domain.errors import DataError, LockstepError, Refused, Unavailable, Unsupported, ValueRefused
from lockstep.stores.postgres.text import shortened

#: libpq gives no SQLSTATE for a connection that was never made, so its words decide
_NOT_MENDED_BY_WAITING = re.compile(
    r"authentication failed|no password supplied|database .* does not exist|role .* does not exist"
    r"|no pg_hba\.conf entry|not permitted to log in|permission denied for database"
    r"|does not support SSL|certificate verify failed|invalid (sslmode|port)|root certificate file",
)
#: classes of SQLSTATE that a later attempt may not meet: connection, resources, intervention, rollback
_TRANSIENT_CLASSES = ("08", "53", "57", "40", "58")
#: classes of SQLSTATE that some row is to blame for: data, integrity, a check option, RAISE of a trigger
_VALUE_CLASSES = ("22", "23", "44", "P0")
#: lock timeout, idle in transaction too long, read-only (a failover in progress)
_TRANSIENT_STATES = ("55P03", "25P03", "25006")


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a database is, as an error may say it: no user name, no password."""

    conn_id: str
    host: str
    port: str
    dbname: str

    def __str__(self) -> str:
        return f"connection {self.conn_id!r} ({self.host}:{self.port}, database {self.dbname!r})"


@contextmanager
def translated(address: Address, statement: str | None = None) -> Iterator[None]:
    """Turn whatever psycopg raises inside the block into a LockstepError."""
    try:
        yield
    except psycopg.Error as problem:
        raise error_of(problem, address, statement) from problem


def error_of(problem: psycopg.Error, address: Address, statement: str | None = None) -> LockstepError:
    """Return the LockstepError for a psycopg error."""
    state = problem.sqlstate
    if state is None:
        return _without_state(problem, address)
    said = said_by_server(problem)
    where = f"PostgreSQL, {address}"
    doing = f" while running {shortened(statement)!r}" if statement else ""
    fields = {"conn_id": address.conn_id, "sqlstate": state}
    if state.startswith(_TRANSIENT_CLASSES) or state in _TRANSIENT_STATES:
        return Unavailable(f"{where}: {said}{doing}. Nothing of this transaction was written.", **fields)
    if state == "42501":
        return Refused(
            f"{where}: {said}{doing}. Grant it to the role that the Airflow connection {address.conn_id!r} "
            "logs in as.",
            **fields,
        )
    if state.startswith(("28", "3D")):
        return Refused(f"{where}: {said}. Mend the Airflow connection {address.conn_id!r}.", **fields)
    kind = _kind(state)
    return kind(f"{where}: {said}{doing}. Nothing of this transaction was written.", **fields)


def _kind(state: str) -> type[LockstepError]:
    if state == "0A000":
        return Unsupported
    return ValueRefused if state.startswith(_VALUE_CLASSES) else DataError


def said_by_server(problem: psycopg.Error) -> str:
    """Return the server's message, detail and hint on one line."""
    diag = problem.diag
    parts = [diag.message_primary or str(problem)]
    if diag.message_detail:
        parts.append(shortened(diag.message_detail))
    if diag.message_hint:
        parts.append(f"Hint: {diag.message_hint}")
    return " ".join(part.rstrip(".") + "." for part in parts).rstrip(".")


def _without_state(problem: psycopg.Error, address: Address) -> LockstepError:
    said = shortened(str(problem), 400).rstrip(".")
    fields = {"conn_id": address.conn_id}
    if isinstance(problem, (psycopg.DataError, psycopg.ProgrammingError, psycopg.NotSupportedError)):
        return DataError(f"PostgreSQL, {address}: {said}.", **fields)
    if _NOT_MENDED_BY_WAITING.search(str(problem)):
        return Refused(
            f"PostgreSQL, {address}, refuses the connection: {said}. "
            f"Mend the Airflow connection {address.conn_id!r}.",
            **fields,
        )
    return Unavailable(
        f"PostgreSQL, {address}, did not answer: {said}. Look whether it runs and can be reached.", **fields
    )
