"""Delete objects, a thousand by a request."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from botocore.exceptions import ClientError

from lockstep.domain.errors import DataError, Refused
from lockstep.stores.vault.place import Place

#: paths in one request; S3 takes no more
AT_ONCE = 1000
#: a server does not know the request, or wants another checksum of the list than clients send
_ONE_BY_ONE = frozenset(
    {
        "BadDigest",
        "InvalidDigest",
        "InvalidRequest",
        "MethodNotAllowed",
        "MissingContentMD5",
        "NotImplemented",
    }
)


def remove(place: Place, paths: Iterable[str]) -> int:
    """Delete objects; return how many were asked for. What could not be deleted is named, and the rest is gone."""
    asked = 0
    left = iter(paths)
    while batch := list(islice(left, AT_ONCE)):
        problems = _delete(place, batch)
        if problems:
            _refuse(place, problems)
        asked += len(batch)
    return asked


def _delete(place: Place, batch: Sequence[str]) -> Sequence[dict[str, Any]]:
    """Return what the server says of those that it did not delete."""
    with place.translated(batch[0]):
        try:
            answer = place.client.delete_objects(
                Bucket=place.bucket,
                Delete={"Objects": [{"Key": path} for path in batch], "Quiet": True},
            )
        except ClientError as problem:
            if problem.response.get("Error", {}).get("Code") not in _ONE_BY_ONE:
                raise
            for path in batch:
                place.client.delete_object(Bucket=place.bucket, Key=path)
            return ()
    return answer.get("Errors") or ()


def _refuse(place: Place, problems: Sequence[dict[str, Any]]) -> None:
    shown = ", ".join(f"s3://{place.bucket}/{one.get('Key')} ({one.get('Code')})" for one in problems[:5])
    more = f" and {len(problems) - 5} more" if len(problems) > 5 else ""
    denied = all(one.get("Code") == "AccessDenied" for one in problems)
    raise (Refused if denied else DataError)(
        f"the vault ({place.conn_id}, {place.endpoint}) did not delete {shown}{more}. Look what the key of the "
        f"Airflow connection {place.conn_id!r} may delete, and whether a retention rule holds these.",
        conn_id=place.conn_id,
        paths=tuple(one.get("Key") for one in problems),
    )
