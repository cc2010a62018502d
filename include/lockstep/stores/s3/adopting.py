"""Make objects what they are in another bucket or prefix of the same server: copied there, by difference."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Sequence
from itertools import groupby, islice

from botocore.exceptions import ClientError

from lockstep.domain.errors import ConflictError, Refused
from lockstep.domain.exchange import Adopted
from lockstep.domain.resources import Everything, Prefix
from lockstep.stores.s3.backup import prefixes
from lockstep.stores.s3.connection import WORKERS, Connection
from lockstep.stores.s3.copying import copy
from lockstep.stores.s3.deleting import AT_ONCE, delete_all
from lockstep.stores.s3.errors import FAILED_CONDITION, code_of
from lockstep.stores.s3.guarding import guards
from lockstep.stores.s3.reading import keys
from lockstep.stores.s3.state import State, body_digest, look, same_description

DOING = "putting back what the backup has"


def adopt(connection: Connection, source: Connection, resources: Sequence[Prefix | Everything]) -> Adopted:
    """Copy what differs and delete what the source has not; what is the same already is left.

    Each key is looked at in both places, in the order of the keys, so that an interrupted one is done again from
    the start and writes only what is still missing.
    """
    place = _Place(connection, source)
    written = removed = 0
    for prefix in prefixes(resources):
        gone: list[str] = []
        pairs = _pairs(connection, source, prefix)
        while window := _window(connection, pairs):
            wanted = [key for key, is_wanted in window if is_wanted]
            written += sum(connection.each(place.settle, wanted))
            gone += [key for key, is_wanted in window if not is_wanted]
            if len(gone) >= AT_ONCE:
                removed += delete_all(connection, gone, DOING)
                gone = []
        removed += delete_all(connection, gone, DOING)
    return Adopted(written=written, removed=removed)


def _window(connection: Connection, pairs: Iterator[tuple[str, bool]]) -> list[tuple[str, bool]]:
    with connection.translate("listing what is there and what is to be there"):
        return list(islice(pairs, WORKERS * 8))


def _pairs(connection: Connection, source: Connection, prefix: str) -> Iterator[tuple[str, bool]]:
    """Yield every key of either, in order, and whether the source has it."""
    there = ((key.encode(), key, True) for key in keys(source, prefix))
    here = ((key.encode(), key, False) for key in keys(connection, prefix))
    for _, found in groupby(heapq.merge(there, here), key=lambda one: one[0]):
        sides = list(found)
        yield sides[0][1], any(in_source for _, _, in_source in sides)


class _Place:
    """One bucket that is made what another one, or a prefix, is."""

    def __init__(self, connection: Connection, source: Connection) -> None:
        self._connection = connection
        self._source = source
        if source.bucket == connection.bucket and not source.root.startswith(connection.root):
            raise Refused(
                f"{source.translate.where} does not lie within {connection.translate.where}, so nothing can be "
                "copied from the one to the other. Nothing was changed.",
            )

    def settle(self, key: str) -> bool:
        """Make one object what it is in the source; say whether it had to be written."""
        connection = self._connection
        with connection.translate(f"{DOING}: object {key!r}"):
            wanted, now = look(self._source, key), look(connection, key)
            if wanted is None:
                raise ConflictError(resource=self._source.translate.where, keys=(key,), doing=DOING)
            if now is not None and self._same(key, wanted, now):
                return False
            try:
                self._copy(key, wanted, now)
            except ClientError as problem:
                if code_of(problem) not in FAILED_CONDITION:
                    raise
                now = look(connection, key)
                if now is None or not self._same(key, wanted, now):
                    raise ConflictError(
                        resource=connection.translate.where, keys=(key,), doing=DOING
                    ) from problem
            return True

    def _copy(self, key: str, wanted: State, now: State | None) -> None:
        connection, source = self._connection, self._source
        same_bucket = source.bucket == connection.bucket
        # Where this connection is confined itself, the root that they share is put before the key by its client.
        root = source.root[len(connection.root) :] if same_bucket else source.root
        bucket = None if same_bucket else source.bucket
        copy(connection, root + key, key, wanted, bucket=bucket, **guards(connection, now))

    def _same(self, key: str, wanted: State, now: State) -> bool:
        if wanted["size"] != now["size"] or not same_description(wanted, now):
            return False
        if wanted["etag"] == now["etag"]:
            return True
        if not (wanted["opaque"] or now["opaque"]):
            return False
        # Parts and keys of the server's go into such ETags: the bodies decide.
        return body_digest(self._source, key) == body_digest(self._connection, key)
