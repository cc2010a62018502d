"""Translate botocore's exceptions, in one place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from boto3.exceptions import Boto3Error
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    ParamValidationError,
    PartialCredentialsError,
    ProfileNotFound,
)

from lockstep.domain.errors import DataError, LockstepError, Refused, Unavailable
from lockstep.domain.resources import Bucket

#: the server says no to who is asking
_NOT_ALLOWED = frozenset(
    {
        "403",
        "AccessDenied",
        "AccountProblem",
        "AllAccessDisabled",
        "AuthorizationHeaderMalformed",
        "ExpiredToken",
        "InvalidAccessKeyId",
        "InvalidToken",
        "PermanentRedirect",
        "SignatureDoesNotMatch",
    }
)
_MISCONFIGURED = (
    InvalidRegionError,
    NoCredentialsError,
    NoRegionError,
    PartialCredentialsError,
    ProfileNotFound,
)
_BUSY = frozenset({"InternalError", "RequestTimeout", "ServiceUnavailable", "SlowDown", "OperationAborted"})
MISSING = frozenset({"404", "NoSuchKey", "NotFound"})
#: an object as it was to become is not to the server's taste: its tags, its metadata, its size
NOT_TAKEN = frozenset(
    {
        "EntityTooLarge",
        "InvalidArgument",
        "InvalidRequest",
        "InvalidTag",
        "KeyTooLongError",
        "MetadataTooLarge",
    }
)
#: a condition of the request did not hold
FAILED_CONDITION = frozenset({"412", "409", "PreconditionFailed", "ConditionalRequestConflict"})


def code_of(problem: ClientError) -> str:
    return str(problem.response.get("Error", {}).get("Code", ""))


class Translator:
    """Turn what the driver raises into errors that name the connection, and never a secret."""

    def __init__(self, database: Bucket, bucket: str, endpoint: str | None) -> None:
        self.conn_id = database.conn_id
        at = f" at {_without_credentials(endpoint)}" if endpoint else ""
        self.where = f"S3 bucket {bucket!r}{at} (connection {database.conn_id!r})"

    @contextmanager
    def __call__(self, doing: str) -> Iterator[None]:
        """Name what was being done, such as "reading prefix uploads/"."""
        try:
            yield
        except LockstepError:
            raise
        except (BotoCoreError, ClientError, Boto3Error) as problem:
            raise self.error(problem, doing) from problem

    def error(self, problem: Exception, doing: str) -> LockstepError:
        if isinstance(problem, ClientError):
            return self._answer(problem, doing)
        said = f"{type(problem).__name__}: {str(problem)[:300]}"
        if isinstance(problem, _MISCONFIGURED):
            return self._refused(doing, said)
        if isinstance(problem, ParamValidationError):
            return DataError(f"{self.where} cannot be asked for {doing}: {said}.", doing=doing)
        # What is left is a connection that was not made, or broke.
        return self._unavailable(doing, said)

    def _answer(self, problem: ClientError, doing: str) -> LockstepError:
        code = code_of(problem)
        status = int(problem.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
        said = str(problem)[:300]
        if code == "NoSuchBucket" or (code in MISSING and problem.operation_name == "HeadBucket"):
            return Refused(
                f"there is no {self.where}. Create it, or mend the bucket's name in the Airflow connection "
                f"{self.conn_id!r} (extra: service_config.s3.bucket_name).",
                conn_id=self.conn_id,
                doing=doing,
            )
        if code in _NOT_ALLOWED or status in (401, 403):
            return self._refused(doing, said)
        if code in _BUSY or status >= 500 or status == 429:
            return self._unavailable(doing, said)
        return DataError(
            f"{self.where} refused {doing}: {said}.", conn_id=self.conn_id, code=code, doing=doing
        )

    def _unavailable(self, doing: str, said: str) -> Unavailable:
        return Unavailable(
            f"{self.where} did not answer while {doing}: {said}. "
            "See that the server is up and reachable, then clear the failed task.",
            conn_id=self.conn_id,
            doing=doing,
        )

    def _refused(self, doing: str, said: str) -> Refused:
        return Refused(
            f"{self.where} refused its credentials while {doing}: {said}. "
            f"Mend login, password, endpoint and region of the Airflow connection {self.conn_id!r}.",
            conn_id=self.conn_id,
            doing=doing,
        )


def _without_credentials(endpoint: str) -> str:
    scheme, _, rest = endpoint.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}"
