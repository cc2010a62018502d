"""Answer who, what and when, from the ledger or from the archive alone."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime

from lockstep.domain.errors import DataError
from lockstep.domain.history import Entry
from lockstep.engine.auditing.segments import body_of, lines_of, objects
from lockstep.engine.ports import Ledger, Vault


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """Which entries are asked for; what is None does not matter."""

    revision: str | None = None
    run: str | None = None
    who: str | None = None
    #: a kind, or a status that an entry leads to
    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    #: only so many, the latest
    last: int | None = None

    def takes(self, entry: Entry) -> bool:
        return (
            self.revision in (None, entry["revision"])
            and self.run in (None, entry["run_id"])
            and self.who in (None, entry["who"])
            and (self.kind is None or self.kind in (entry["kind"], entry["to_status"]))
            and self._in_time(entry)
        )

    def _in_time(self, entry: Entry) -> bool:
        if self.since is None and self.until is None:
            return True
        at = datetime.fromisoformat(str(entry["at"]))
        return (self.since is None or at >= self.since) and (self.until is None or at < self.until)


def tell(entries: Iterable[Entry], wanted: Wanted) -> Iterator[Entry]:
    """Yield the entries that are asked for, oldest first."""
    found = (entry for entry in entries if wanted.takes(entry))
    return iter(deque(found, maxlen=wanted.last)) if wanted.last else found


def from_ledger(ledger: Ledger) -> Iterator[Entry]:
    """Yield every entry of the ledger, a page at a time."""
    after = 0
    while page := ledger.entries(after):
        yield from page
        after = int(page[-1]["id"])


def from_archive(vault: Vault, chain: str) -> Iterator[Entry]:
    """Yield every entry of an archived chain; DataError for a line that cannot be read."""
    after = 0
    for one in objects(vault, chain):
        for line in lines_of(one.path, body_of(vault, one.path) or b""):
            if line.problem:
                raise DataError(
                    f"{vault.uri(one.path)}, line {line.number}: {line.problem}. `lockstep audit verify` says more.",
                    path=one.path,
                )
            if line.entry is not None and line.entry["id"] > after:
                after = line.entry["id"]
                yield line.entry
