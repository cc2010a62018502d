"""Look at a bucket: list a little of it, and read a byte."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from botocore.exceptions import ClientError

from lockstep.domain.looking import Right, Size, Space, Wish
from lockstep.domain.resources import Everything, Prefix, Touched
from lockstep.stores.s3.errors import code_of
from lockstep.stores.s3.store import S3Store

#: pages of a thousand keys that are listed of one prefix
PAGES = 5


class S3Looker:
    """A Looker of one bucket."""

    def __init__(self, store: S3Store) -> None:
        self._store = store
        self._connection = store._connection

    def facts(self) -> Mapping[str, str]:
        told = self._store.check()
        return {**told, "server": "S3", "version": told["server"]}

    def sizes(self, touched: Sequence[Touched]) -> Mapping[str, Size]:
        return {
            one.slug: self._size("" if isinstance(one, Everything) else one.name)
            for one in touched
            if isinstance(one, (Prefix, Everything))
        }

    def _size(self, prefix: str) -> Size:
        connection = self._connection
        records = size = 0
        more = False
        with connection.translate(f"listing prefix {prefix}"):
            pages = connection.client.get_paginator("list_objects_v2").paginate(
                Bucket=connection.bucket, Prefix=prefix, PaginationConfig={"MaxItems": PAGES * 1000 + 1}
            )
            for page in pages:
                for item in page.get("Contents", []):
                    if records == PAGES * 1000:
                        more = True
                        break
                    records += 1
                    size += int(item["Size"])
        return Size(records=records, least=more, bytes=size)

    def space(self) -> Space:
        return Space()

    def rights(self, wishes: Sequence[Wish]) -> list[Right]:
        """Read a byte of an object of each prefix; what writes would take cannot be told without one."""
        connection = self._connection
        found = []
        for prefix in dict.fromkeys(wish.touched for wish in wishes if isinstance(wish.touched, Prefix)):
            with connection.translate(f"reading prefix {prefix.name}"):
                listed = connection.client.list_objects_v2(
                    Bucket=connection.bucket, Prefix=prefix.name, MaxKeys=1
                )
                for item in listed.get("Contents", []):
                    found.append(self._readable(prefix, item["Key"]))
        found.append(
            Right(what="put and delete objects", granted=None, words="that cannot be told without writing")
        )
        return found

    def _readable(self, prefix: Prefix, key: str) -> Right:
        connection = self._connection
        granted = True
        try:
            connection.client.head_object(Bucket=connection.bucket, Key=key)
        except ClientError as problem:
            if code_of(problem) not in ("403", "AccessDenied"):
                raise
            granted = False
        return Right(what=f"read prefix {prefix.name}", granted=granted, words="allow s3:GetObject on it")

    def trouble(self) -> list[str]:
        return []
