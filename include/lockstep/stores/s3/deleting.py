"""Delete many objects, as few requests as the server lets it be."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

from botocore.exceptions import ClientError

from lockstep.domain.errors import DataError
from lockstep.stores.s3.connection import Connection
from lockstep.stores.s3.errors import code_of

#: keys in one request; S3 takes no more
AT_ONCE = 1000
#: a server does not know the request, or wants another checksum of the list than clients send
_ONE_BY_ONE = frozenset(
    {
        "400",
        "405",
        "501",
        "BadDigest",
        "InvalidDigest",
        "InvalidRequest",
        "MethodNotAllowed",
        "MissingContentMD5",
        "NotImplemented",
    }
)


def delete_all(connection: Connection, keys: Iterable[str], doing: str) -> int:
    """Delete objects, those that are gone already too; return how many were asked for. DataError names what stays."""
    asked = 0
    for batch in batches(keys):
        with connection.translate(doing):
            _delete(connection, batch, doing)
        asked += len(batch)
    return asked


def batches(keys: Iterable[str]) -> Iterator[list[str]]:
    left = iter(keys)
    while batch := list(islice(left, AT_ONCE)):
        yield batch


def _delete(connection: Connection, keys: Sequence[str], doing: str) -> None:
    try:
        answer = connection.client.delete_objects(
            Bucket=connection.bucket,
            Delete={"Objects": [{"Key": key} for key in keys], "Quiet": True},
        )
    except ClientError as problem:
        if code_of(problem) not in _ONE_BY_ONE:
            raise
        for _ in connection.each(
            lambda key: connection.client.delete_object(Bucket=connection.bucket, Key=key), keys
        ):
            pass
        return
    problems = answer.get("Errors") or ()
    if problems:
        shown = ", ".join(f"{one.get('Key')!r} ({one.get('Code')})" for one in problems[:5])
        raise DataError(
            f"{connection.translate.where} did not delete {len(problems)} object(s) while {doing}: {shown}. "
            f"See what {connection.declared.conn_id!r} may delete there, then clear the failed task.",
            conn_id=connection.declared.conn_id,
            keys=tuple(one.get("Key") for one in problems),
        )
