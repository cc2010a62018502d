"""What botocore raises, in Lockstep's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore import exceptions as aws

from lockstep.domain.errors import DataError, LockstepError, Refused, Unavailable

_DENIED = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "ExpiredToken",
        "Forbidden",
        "InvalidAccessKeyId",
        "InvalidToken",
        "SignatureDoesNotMatch",
        "AuthorizationHeaderMalformed",
        "401",
        "403",
    }
)
_PASSING = frozenset(
    {"InternalError", "OperationAborted", "RequestTimeout", "ServiceUnavailable", "SlowDown", "Throttling"}
)
_NO_OBJECT = frozenset({"NoSuchKey", "404", "NotFound"})
_NO_CREDENTIALS = (aws.NoCredentialsError, aws.PartialCredentialsError, aws.CredentialRetrievalError)
_NO_ANSWER = (
    aws.HTTPClientError,
    aws.ConnectionError,
    aws.IncompleteReadError,
    aws.ResponseStreamingError,
    ConnectionError,
    TimeoutError,
)


@contextmanager
def translated(conn_id: str, endpoint: str, bucket: str, path: str) -> Iterator[None]:
    """Raise botocore's errors as LockstepErrors that name the connection, the bucket and the object."""
    try:
        yield
    except aws.ClientError as error:
        raise _answered(error, conn_id, endpoint, bucket, path) from error
    except _NO_ANSWER as error:
        raise Unavailable(
            f"the vault ({conn_id}, {endpoint}) did not answer about s3://{bucket}/{path}: "
            f"{type(error).__name__}. Try again when it does.",
            conn_id=conn_id,
            path=path,
        ) from error
    except _NO_CREDENTIALS as error:
        raise Refused(
            f"the vault ({conn_id}, {endpoint}) needs an access key and a secret key. Put them into the "
            f"Airflow connection {conn_id!r} as login and password.",
            conn_id=conn_id,
        ) from error
    except (aws.BotoCoreError, ValueError) as error:
        raise Refused(
            f"the vault ({conn_id}, {endpoint}) cannot be asked for s3://{bucket}/{path}: "
            f"{type(error).__name__}. Correct the Airflow connection {conn_id!r} (endpoint_url, region_name, "
            "bucket_name).",
            conn_id=conn_id,
            path=path,
        ) from error


def _answered(error: aws.ClientError, conn_id: str, endpoint: str, bucket: str, path: str) -> LockstepError:
    code = str(error.response.get("Error", {}).get("Code", ""))
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    where = f"the vault ({conn_id}, {endpoint})"
    fields = {"conn_id": conn_id, "bucket": bucket, "path": path, "code": code}
    if code == "NoSuchBucket":
        return no_bucket(conn_id, endpoint, bucket)
    if code in _DENIED or status in (401, 403):
        return Refused(
            f"{where} does not let us at s3://{bucket}/{path}: {code}. Correct login (access key) and "
            f"password (secret key) of the Airflow connection {conn_id!r}, or what that key may do.",
            **fields,
        )
    if code in _PASSING or status >= 500 or status == 429:
        return Unavailable(
            f"{where} failed at s3://{bucket}/{path}: {code}. Try again when it is well.", **fields
        )
    if code in _NO_OBJECT or status == 404:
        return DataError(f"{where} has no object s3://{bucket}/{path}. Look who removed it.", **fields)
    return DataError(
        f"{where} does not take s3://{bucket}/{path}: {code} (HTTP {status}). "
        "Look at its size, key and metadata.",
        **fields,
    )


def no_bucket(conn_id: str, endpoint: str, bucket: str) -> Refused:
    """Return the error for a bucket that is not there; it is never made in silence."""
    return Refused(
        f"the vault ({conn_id}, {endpoint}) has no bucket {bucket!r}. Make it (aws s3 mb s3://{bucket} "
        f"--endpoint-url {endpoint}), or name another in the Airflow connection {conn_id!r} "
        "(service_config.s3.bucket_name).",
        conn_id=conn_id,
        bucket=bucket,
    )
