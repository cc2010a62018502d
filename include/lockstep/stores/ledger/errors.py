"""What the driver raises, in Lockstep's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from psycopg import errors as pg

from lockstep.domain.errors import DataError, LockstepError, Refused, Unavailable

#: SQLSTATE classes and codes that another attempt may not meet
_PASSING = ("08", "40", "53", "55P03", "57", "58", "25006", "25P03")
#: who we are, or which database, is wrong
_DENIED = ("28", "3D000", "42501")
#: what a server or pooler says at login; libpq gives no code there, and an unknown text counts as passing
_LOGIN_DENIED = (
    "password authentication failed",
    "no password supplied",
    "authentication failed",
    "no pg_hba.conf entry",
    "permission denied for database",
    "does not exist",
    "no such database",
    "no such user",
    "is not permitted to log in",
)


@contextmanager
def translated(conn_id: str, address: str) -> Iterator[None]:
    """Raise the driver's errors as LockstepErrors that name the connection and the server."""
    try:
        yield
    except psycopg.Error as error:
        raise translate(error, conn_id, address) from error
    except UnicodeError as error:
        raise DataError(
            f"the ledger ({conn_id}, {address}) cannot hold a text that is no UTF-8. "
            "Clean it where it comes from.",
            conn_id=conn_id,
        ) from error


def translate(error: psycopg.Error, conn_id: str, address: str) -> LockstepError:
    """Return the LockstepError that says what a driver error means."""
    where = f"the ledger ({conn_id}, {address})"
    code = error.sqlstate or ""
    said = error.diag.message_primary or _one_line(error)
    fields = {"conn_id": conn_id, "address": address, "sqlstate": code}
    if isinstance(error, (pg.UndefinedTable, pg.UndefinedColumn, pg.UndefinedFunction)):
        return Refused(
            f"{where} lacks its tables: {said}. Start any run, or call check(), which makes them.", **fields
        )
    if code.startswith(_DENIED) or (not code and any(text in said for text in _LOGIN_DENIED)):
        return Refused(
            f"{where} does not let us in: {said}. Correct the Airflow connection {conn_id!r} "
            "(login, password, schema) or the rights of its login.",
            **fields,
        )
    if code.startswith(_PASSING) or (not code and isinstance(error, psycopg.OperationalError)):
        return Unavailable(f"{where} did not answer: {said}. Try again when it does.", **fields)
    if isinstance(error, pg.ForeignKeyViolation):
        return Refused(f"{where} does not know the run or shard that this names: {said}.", **fields)
    if code.startswith(("22", "23")) or isinstance(error, psycopg.DataError):
        return DataError(f"{where} cannot hold this value: {said}.", **fields)
    if code == "55000":
        return Refused(f"{where} refuses: {said}.", **fields)
    return LockstepError(f"{where} failed: {said}.", **fields)


def _one_line(error: psycopg.Error) -> str:
    return " ".join(str(error).split()) or type(error).__name__
