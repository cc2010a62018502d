"""What is parked in each database, and when it went."""

from __future__ import annotations

from collections.abc import Sequence

from lockstep.domain.parked import Parked
from lockstep.stores.ledger.connect import Db
from lockstep.stores.ledger.plain import text
from lockstep.stores.ledger.rows import parked_of

# One parked thing, as its store shows it now.
_SEEN = """
    INSERT INTO _migration_parked (conn_id, parked_as, kind, resource, revision, run_id, bytes, records, parked_at)
    VALUES (%(conn_id)s, %(parked_as)s, %(kind)s, %(resource)s, %(revision)s, %(run)s, %(bytes)s, %(records)s,
            %(parked_at)s)
    ON CONFLICT (conn_id, parked_as, parked_at) DO UPDATE SET
        bytes = coalesce(excluded.bytes, _migration_parked.bytes),
        records = coalesce(excluded.records, _migration_parked.records),
        seen_at = clock_timestamp(), gone_at = NULL, gone_why = NULL
"""
# What was parked in a database, and is not there any more: a later run may have parked another by its name.
_GONE = """
    UPDATE _migration_parked SET gone_at = clock_timestamp(), gone_why = %(why)s
    WHERE conn_id = %(conn_id)s AND gone_at IS NULL
      AND (parked_as, parked_at) NOT IN (SELECT * FROM unnest(%(names)s::text[], %(times)s::timestamptz[]))
"""
# All that is parked, oldest first.
_READ = """
    SELECT * FROM _migration_parked WHERE %(gone)s OR gone_at IS NULL ORDER BY parked_at, conn_id, parked_as
"""


def sync(db: Db, conn_id: str, found: Sequence[Parked], why: str) -> int:
    """Make the list of one database what its store shows; return how many things have gone."""
    for one in found:
        db.execute(
            _SEEN,
            {
                "conn_id": conn_id,
                "parked_as": text(one.parked_as),
                "kind": one.kind,
                "resource": text(one.resource),
                "revision": one.revision,
                "run": one.run_id,
                "bytes": one.bytes,
                "records": one.records,
                "parked_at": one.parked_at,
            },
        )
    names, times = [text(one.parked_as) for one in found], [one.parked_at for one in found]
    return db.execute(_GONE, {"conn_id": conn_id, "names": names, "times": times, "why": why}).rowcount


def read(db: Db, gone: bool) -> list[Parked]:
    return [parked_of(row) for row in db.execute(_READ, {"gone": gone})]
