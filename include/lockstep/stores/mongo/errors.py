"""Translate pymongo's exceptions, in one place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DocumentTooLarge,
    ExecutionTimeout,
    InvalidName,
    OperationFailure,
    PyMongoError,
    WTimeoutError,
)

from lockstep.domain.errors import DataError, LockstepError, Refused, Unavailable
from lockstep.domain.resources import Mongo

#: AuthenticationFailed, Unauthorized, AtlasError (a refused login)
NOT_ALLOWED = frozenset({13, 18, 8000})
#: elections, shutdowns, lost connections, timeouts and write conflicts: the same call may succeed later
TRANSIENT = frozenset(
    {6, 7, 24, 43, 46, 50, 64, 89, 91, 112, 189, 237, 262, 9001, 10107, 11600, 11602, 13435, 13436}
)
DUPLICATE = 11000
NAMESPACE_EXISTS = 48
NAMESPACE_NOT_FOUND = 26
NOT_ON_VIEW = 166


def address_of(uri: str) -> str:
    """Return the hosts of a URI without its credentials."""
    found = re.match(r"[a-z+]+://(?P<authority>[^/?]*)", uri)
    return found["authority"].rpartition("@")[2] if found else "an address that cannot be read"


class Translator:
    """Turn what the driver raises into errors that name the connection, and never a password."""

    def __init__(self, database: Mongo, uri: str, dbname: str) -> None:
        self.conn_id = database.conn_id
        self.where = f"MongoDB database {dbname!r} at {address_of(uri)} (connection {database.conn_id!r})"

    @contextmanager
    def __call__(self, doing: str) -> Iterator[None]:
        """Name what was being done, such as "reading collection users"."""
        try:
            yield
        except LockstepError:
            raise
        except PyMongoError as problem:
            raise self.error(problem, doing) from problem

    def unavailable(self, doing: str, problem: object) -> Unavailable:
        return Unavailable(
            f"{self.where} did not answer while {doing}: {str(problem)[:300]}. "
            "See that the server is up and reachable, then clear the failed task.",
            conn_id=self.conn_id,
            doing=doing,
        )

    def refused(self, doing: str, problem: object) -> Refused:
        return Refused(
            f"{self.where} refused its credentials while {doing}: {str(problem)[:300]}. "
            f"Mend login, password, schema or roles of the Airflow connection {self.conn_id!r}.",
            conn_id=self.conn_id,
            doing=doing,
        )

    def error(self, problem: PyMongoError, doing: str) -> LockstepError:
        code = getattr(problem, "code", None)
        if isinstance(problem, (ConnectionFailure, ExecutionTimeout, WTimeoutError)) or code in TRANSIENT:
            return self.unavailable(doing, problem)
        if code in NOT_ALLOWED:
            return self.refused(doing, problem)
        if isinstance(problem, (ConfigurationError, InvalidName)):
            return self.refused(doing, type(problem).__name__)
        if isinstance(problem, (BulkWriteError, DocumentTooLarge, OperationFailure)):
            return DataError(
                f"{self.where} refused {doing}: {str(problem)[:300]}.",
                conn_id=self.conn_id,
                code=code,
                doing=doing,
            )
        # What is left is a broken conversation (such as an answer to another question): ask again.
        return self.unavailable(doing, problem)
