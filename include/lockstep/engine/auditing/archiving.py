"""Put the history into the vault: everything since the last time, whatever run it belongs to."""

from __future__ import annotations

import hashlib

from lockstep.domain.errors import DataError
from lockstep.engine.auditing.segments import CONTENT_TYPE, segment_of
from lockstep.engine.ports import Ledger
from lockstep.engine.services import Services

#: entries of an object
MOST = 1000


def archive_history(services: Services) -> int:
    """Put what the history says since the last archived entry into the vault; return how many entries went.

    An object is made once and never written over. A crash before the ledger knows of it leaves an object that the next
    call's overlaps; two callers at once may leave two that overlap: no line is lost.
    """
    ledger = services.ledger
    after, went = ledger.archived(), 0
    first = _first_hash(ledger)
    while entries := ledger.entries(after, MOST):
        segment, body = segment_of(first, entries)
        if not services.vault.put_new(segment.path, body, CONTENT_TYPE):
            _refuse_other(services, segment.path, segment.sha256)
        services.reached("history archived")
        ledger.add_segment(segment)
        after = segment.head.id
        went += len(entries)
    if went:
        services.log.info(f"{went} entries of the history are archived, up to {after}", entries=went)
    return went


def _first_hash(ledger: Ledger) -> str:
    """Return what a chain is known by: the hash of its first entry; empty where there is none."""
    found = ledger.entries(0, 1)
    return str(found[0]["hash"]) if found else ""


def _refuse_other(services: Services, path: str, sha256: str) -> None:
    """Raise DataError where an object of this name has other bytes than it must have: nothing is written over it."""
    if hashlib.sha256(services.vault.get(path)).hexdigest() != sha256:
        raise DataError(
            f"{services.vault.uri(path)} is not what the history says, and an archive is never written over. Run "
            "`lockstep audit verify`, which names the line; bring the object back from the bucket's versions.",
            path=path,
        )
