"""Yapper, Campus's event broker: its own tables over a connection of their own; none of ours is put there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any

import psycopg
from psycopg import errors as pg
from psycopg.conninfo import conninfo_to_dict
from psycopg.rows import DictRow, dict_row

from lockstep.domain.errors import DataError, LockstepError, Refused, Unavailable
from lockstep.domain.events import payload
from lockstep.domain.exchange import Event

# Settings of this transaction alone: a pooler may give the session to somebody else.
_BEGIN = """
    BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE;
    SET LOCAL lock_timeout TO '10s';
    SET LOCAL statement_timeout TO '60s';
    SET LOCAL idle_in_transaction_session_timeout TO '60s';
"""
# Two deliveries of one event take turns; the lock ends with the transaction.
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))"
# Events of this label that hold our id in quotes. `data` is text, and other clients write what they like into
# it, so it is searched as text. Yapper has no index for this: it costs a scan of `events`.
_ARRIVED = "SELECT data FROM events WHERE label = %s AND position(%s IN data) > 0"
# The event itself; created_at has no zone and is UTC.
_EMIT = "INSERT INTO events (label, data, created_at) VALUES (%s, %s, %s) RETURNING id"
# One unread row for each subscriber of the label, with the label: it is part of the key.
_SPREAD = """
    INSERT INTO unread (client_id, label, event_id)
    SELECT client_id, label, %s FROM subscriptions WHERE label = %s
"""
# Yapper's tables that are not there.
_MISSING = """
    SELECT name FROM unnest(ARRAY['events', 'subscriptions', 'unread']) AS name
    WHERE to_regclass(name) IS NULL
"""

#: deliveries that may meet a subscriber who leaves at the same moment
_ATTEMPTS = 3
#: SQLSTATE classes and codes that another attempt may not meet
_PASSING = ("08", "40", "53", "55P03", "57", "58", "25006", "25P03")
#: what is said at login, where libpq gives no code
_LOGIN_DENIED = (
    "authentication failed",
    "no password supplied",
    "no pg_hba.conf entry",
    "permission denied",
    "does not exist",
    "no such database",
    "no such user",
    "is not permitted to log in",
)


class YapperSink:
    """Deliver events to Yapper, each exactly once however often it is tried."""

    name = "yapper"

    def __init__(self, conninfo: str, *, conn_id: str = "lockstep_yapper") -> None:
        """`conninfo`: libpq's, as text or URI, of Yapper's database."""
        self._conn_id = conn_id
        try:
            given = conninfo_to_dict(conninfo)
        except psycopg.ProgrammingError:
            # The driver's message quotes the text, and the text may hold the password.
            raise Refused(
                f"the Airflow connection {conn_id!r} does not make a PostgreSQL address. Correct its fields.",
                conn_id=conn_id,
            ) from None
        self._params: dict[str, Any] = {name: value for name, value in given.items() if value is not None}

    def __repr__(self) -> str:
        return f"YapperSink({self._address}, conn_id={self._conn_id!r})"

    def deliver(self, event: Event, *, tried_before: bool) -> None:
        """Emit one event, unless it is there, to all who subscribe to its label when it commits.

        It is looked for whatever `tried_before` says: a relay that froze before it called us, and was
        overtaken, does not know that the event arrived.
        """
        for _ in range(_ATTEMPTS):
            try:
                with self._transaction(event) as db:
                    db.execute(_LOCK, [f"lockstep event {event.id}"])
                    # A statement of its own, after the lock: it sees what the other delivery committed.
                    if not _arrived(db, event):
                        _emit(db, event)
                    return
            except _SubscriberLeft as left:
                last = left
        raise last

    @property
    def _address(self) -> str:
        given = self._params
        host = given.get("host") or given.get("hostaddr") or "local socket"
        return f"{host}:{given.get('port') or 5432}/{given.get('dbname') or '?'}"

    @contextmanager
    def _transaction(self, event: Event) -> Iterator[psycopg.Connection[DictRow]]:
        db: psycopg.Connection[DictRow] | None = None
        try:
            db = psycopg.connect(
                **{"connect_timeout": 10, "application_name": "lockstep yapper", **self._params},
                client_encoding="utf8",
                autocommit=True,
                prepare_threshold=None,
                row_factory=dict_row,
            )
            db.execute(_BEGIN)
            yield db
            db.commit()
        except psycopg.Error as error:
            raise self._translated(error, event, db) from error
        finally:
            if db is not None:
                db.close()  # what was not committed is rolled back

    def _translated(
        self, error: psycopg.Error, event: Event, db: psycopg.Connection[DictRow] | None
    ) -> LockstepError:
        where = f"Yapper ({self._conn_id}, {self._address})"
        code = error.sqlstate or ""
        said = error.diag.message_primary or " ".join(str(error).split()) or type(error).__name__
        fields = {"conn_id": self._conn_id, "event": event.id, "sqlstate": code}
        if isinstance(error, pg.UndefinedTable) and db is not None:
            return Refused(
                f"{where} lacks its table(s) {_missing(db)}. Point the Airflow connection "
                f"{self._conn_id!r} to Yapper's database (schema), or let Yapper make its tables there.",
                **fields,
            )
        if isinstance(error, pg.ForeignKeyViolation):
            return _SubscriberLeft(
                f"{where}: a subscriber of {event.label!r} left while the event was delivered: {said}. "
                "Nothing was written; the next attempt delivers it to those who are left.",
                **fields,
            )
        denied = code.startswith(("28", "3D000", "42501"))
        if denied or (not code and any(text in said for text in _LOGIN_DENIED)):
            return Refused(
                f"{where} does not let us in: {said}. Correct the Airflow connection {self._conn_id!r} "
                "(login, password, schema) or the rights of its login.",
                **fields,
            )
        if code.startswith(_PASSING) or (not code and isinstance(error, psycopg.OperationalError)):
            return Unavailable(f"{where} did not answer: {said}. Try again when it does.", **fields)
        if code.startswith(("22", "23")):
            return DataError(f"{where} cannot hold event {event.label!r}: {said}.", **fields)
        return LockstepError(f"{where} failed: {said}. Look at its tables and its log.", **fields)


class _SubscriberLeft(Unavailable):
    """A foreign key of `unread` lost what it points to."""


def _arrived(db: psycopg.Connection[DictRow], event: Event) -> bool:
    return any(_id_in(row["data"]) == event.id for row in db.execute(_ARRIVED, [event.label, _quoted(event)]))


def _id_in(data: str) -> object:
    try:
        found = json.loads(data)
    except ValueError:
        return None
    return found.get("id") if isinstance(found, dict) else None


def _quoted(event: Event) -> str:
    return json.dumps(event.id)


def _emit(db: psycopg.Connection[DictRow], event: Event) -> None:
    row = db.execute(_EMIT, [event.label, _data(event), _utc(event.at).replace(tzinfo=None)]).fetchone()
    if row is not None:
        db.execute(_SPREAD, [row["id"], event.label])


def _data(event: Event) -> str:
    """Return the event as JSON text; the label has a column of its own, and stands here as well."""
    return json.dumps(payload(event))


def _utc(at: datetime) -> datetime:
    return (at if at.tzinfo else at.replace(tzinfo=timezone.utc)).astimezone(timezone.utc)


def _missing(db: psycopg.Connection[DictRow]) -> str:
    try:
        db.rollback()
        found = [row["name"] for row in db.execute(_MISSING)]
    except psycopg.Error:
        found = []
    return ", ".join(found) or "events, subscriptions or unread"
