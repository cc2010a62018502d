"""The port to PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from lockstep.domain.exchange import Adopted, BackupPart, Swept, TakenBack
from lockstep.domain.pacing import Limits, Reading
from lockstep.domain.parked import Parked
from lockstep.domain.progress import BackupFile, Cursor, Fence, Fingerprint, KeyRange, Page, Progress
from lockstep.domain.readiness import Writes
from lockstep.domain.resources import Everything, Table


class TableUnit(Protocol):
    """One PostgreSQL transaction: all of it commits, with its checkpoint, or none.

    It commits when its `with` block ends well. At commit the checkpoint is written where its epoch still is
    the fence's; otherwise StaleEpoch is raised and everything rolls back.
    """

    #: the operation that journal entries are filed under; the fence's step until set
    step: int

    def advance(self, progress: Progress) -> None:
        """Set what the checkpoint will say."""

    def execute(self, statements: Sequence[str], *, lock_timeout: float) -> int:
        """Run statements; return rows affected. Raises Unavailable on a lock timeout, naming who blocks."""

    def insert_missing(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> int:
        """Insert the rows whose key is absent, journal their keys, return how many."""

    def update_range(
        self,
        table: Table,
        assignments: Mapping[str, str],
        *,
        where: str | None,
        within: KeyRange,
        after: Cursor | None,
        limit: int,
        journal: bool,
        excluding: Sequence[Cursor] = (),
    ) -> Swept:
        """Update the next `limit` rows in key order by SQL expressions, those with keys in `excluding` left out."""

    def read_locked(
        self,
        table: Table,
        *,
        columns: Sequence[str] | None,
        where: str | None,
        within: KeyRange,
        after: Cursor | None,
        limit: int,
        excluding: Sequence[Cursor] = (),
    ) -> Page:
        """Read the next rows in key order as dicts (key columns included), locked until the commit."""

    def write_rows(
        self,
        table: Table,
        pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
        *,
        journal: bool,
    ) -> int:
        """Write (read row, changed row) pairs by key, only columns that some pair changes; return rows."""

    def write_packed(self, table: Table, packed: Any, *, journal: bool) -> tuple[int, tuple[Cursor, ...]]:
        """Write what a reader packed where the row still is what was read, like `write_rows`.

        Returns how many rows that was, and the places of rows that have changed since they were read: they
        are left alone, as are rows that are gone.
        """

    def upsert_rows(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> tuple[int, int]:
        """Insert or overwrite by key, journaled; return (inserted, overwritten). Equal rows are left."""

    def park_table(self, table: Table) -> None:
        """Move the table, with all that hangs on it, out of use; filed in the journal under `step`."""

    def park_column(self, table: Table, column: str) -> None:
        """Rename the column to a reserved name and make it nullable; filed in the journal under `step`."""

    def rewrite_table(self, table: Table, assignments: Mapping[str, str]) -> int:
        """Write every row anew by SQL expressions, swap the new table in, park the old one; return rows.

        Readers go on until the swap, writers wait. Raises Refused, before anything is done, for a table on
        which something hangs that cannot be carried over.
        """

    def take_back(self, run_id: str, step: int, *, limit: int, strict: bool) -> TakenBack:
        """Take back the last journaled `limit` records, or park, of a step of a run; newest first.

        A record that is not as the step left it is left alone and named in `conflicts`; with `strict`
        ConflictError is raised instead and nothing of this unit commits.
        """

    def keys_of(self, table: Table) -> tuple[str, ...]:
        """The primary key's columns, in order, as this transaction sees them."""

    def fetch(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows that have the keys of these, whole, as this transaction sees them."""

    def count(self, table: Table, where: str | None = None, *, excluding: Sequence[Cursor] = ()) -> int:
        """Count rows as this transaction sees them."""

    def cursor_of(self, table: Table, row: Mapping[str, Any]) -> Cursor:
        """Return a row's place in the key order, as a page's cursor gives it."""

    def fingerprint(self, table: Table) -> Fingerprint:
        """Fingerprint a table as this transaction sees it."""

    @property
    def handle(self) -> Any:
        """The psycopg Connection, inside its transaction."""


class TableReader(Protocol):
    """Reads ahead of the units, on a connection of its own: from one thread at a time, without locks."""

    def page(
        self,
        table: Table,
        *,
        columns: Sequence[str] | None,
        where: str | None,
        within: KeyRange,
        after: Cursor | None,
        limit: int,
        excluding: Sequence[Cursor] = (),
    ) -> Page:
        """Read the next rows in key order as dicts, with the stamp of each."""

    def pack(
        self,
        table: Table,
        pairs: Sequence[tuple[Mapping[str, Any], Mapping[str, Any]]],
        stamps: Sequence[str],
    ) -> Any:
        """Make pairs (row as read, row as it should be) ready for `write_packed`; what is wrong is raised there."""


class TableStore(Protocol):
    """One PostgreSQL database."""

    def check(self) -> Mapping[str, str]:
        """Answer with server facts (version, database), making Lockstep's own schema if it is missing."""

    def tables(self) -> tuple[Table, ...]:
        """Every table that is not Lockstep's own or the system's."""

    def require_key(self, table: Table) -> None:
        """Raise DataError, with the reason, for a missing table or one without a primary key."""

    def exists(self, table: Table) -> bool: ...

    def reader(self) -> AbstractContextManager[TableReader]:
        """Open a reader; at the end whatever it reads is cancelled, and its connection closed."""

    def plan_ranges(self, table: Table, *, where: str | None, shards: int, least: int) -> list[KeyRange]:
        """Cut the table's keys into at most `shards` ranges of at least `least` rows; always at least one."""

    def read(
        self,
        table: Table,
        *,
        columns: Sequence[str] | None,
        where: str | None,
        within: KeyRange,
        after: Cursor | None,
        limit: int,
        excluding: Sequence[Cursor] = (),
    ) -> Page:
        """Read the next rows in key order as dicts."""

    def keys_of(self, table: Table) -> tuple[str, ...]:
        """The primary key's columns, in order."""

    def fetch(self, table: Table, rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """Return the rows that have the keys of these, whole."""

    def fingerprint(self, touched: Table | Everything, *, keys_only: bool = False) -> dict[str, Fingerprint]:
        """Fingerprint a table, or every table of the database, by slug, from one snapshot.

        keys_only: content and shape are not looked at, and empty.
        """

    def count(self, table: Table, where: str | None = None, *, excluding: Sequence[Cursor] = ()) -> int: ...

    def width(self, table: Table) -> int | None:
        """Return about how many bytes a row takes, from statistics or size; None for an empty table."""

    def pressure(self, limits: Limits) -> list[Reading]:
        """Read the server's signals; one that this role may not read says stop, and how to grant it."""

    def vacuum(self, table: Table) -> bool:
        """Let the space of dead rows be used again; False where somebody else does, or the role may not."""

    def claim(self, fence: Fence) -> Progress:
        """Take over (or make) the checkpoint of the fence's shard; StaleEpoch if a later one has it."""

    def progress(self, run_id: str, phase: str) -> dict[tuple[int, int], Progress]:
        """Return what the checkpoints of a run say, by (step, shard)."""

    def fence_off(self, run_id: str, epoch: int) -> None:
        """Raise the checkpoints of the run, those of its undo aside, to `epoch`: older workers write nothing more.

        Returns once no unit of theirs is in a transaction any more.
        """

    def rearm(self, run_id: str) -> int:
        """Let all that was taken back of a run be taken back again; return the records that this concerns.

        For whoever has put the tables back to where they were before it was taken back.
        """

    def unit(self, fence: Fence) -> AbstractContextManager[TableUnit]:
        """Open a transaction whose commit is checked against the fence."""

    def run_outside_transaction(self, statement: str, *, lock_timeout: float) -> None:
        """Run one statement outside a transaction, cleaning up an INVALID index before and after."""

    def drop_unfinished(self, statement: str, *, lock_timeout: float) -> bool:
        """Drop what such a statement left unfinished, an INVALID index; tell whether it had."""

    def backup(self, touched: Sequence[Table | Everything]) -> Iterator[BackupPart]:
        """Dump the tables touched, with what a restore of them needs."""

    def open_scratch(self, name: str) -> TableStore:
        """Make an empty scratch space of this name on the same server, and return a store that works in it.

        One that is there already is emptied first. Refused, naming the right that is missing, where the role may
        make none; and for a name that domain.scratch does not allow.
        """

    def drop_scratch(self, name: str) -> None:
        """Remove a scratch space with all that is in it; one that is not there is fine."""

    def scratches(self) -> list[str]:
        """Return the names of all scratch spaces on the server."""

    def load(self, files: Sequence[BackupFile], read: Callable[[str], Iterator[bytes]]) -> None:
        """Put a backup of this kind into this store, which holds none of its resources yet; bounded memory.

        read: path → its bytes. The files are those of one manifest.
        """

    def adopt(self, source: TableStore, resources: Sequence[Table | Everything]) -> Adopted:
        """Make resources here what they are in `source`, a store of the same server; everything else stays.

        Records that are the same already are not written. Interrupted, it can be done again. Refused, by name and
        before anything is changed, where something hangs on a resource that cannot be kept.
        """

    def parked(self) -> list[Parked]:
        """Return what is parked here under reserved names, with size and age as far as they are known."""

    def remove_parked(self, parked: Parked) -> None:
        """Remove one parked thing for good; gone already is fine. Refused for a name that is not reserved."""

    def writes(self, touched: Table | Everything) -> dict[str, Writes]:
        """Return how many rows of a table, or of every table, were ever written, by slug, as the server counts.

        One whose server does not count is left out.
        """

    def journaled(self, run_id: str, step: int) -> bool:
        """Whether the journal still holds what a step of a run overwrote, inserted or parked."""

    def portrait(self) -> dict[str, str]:
        """Return the shape of all that is in use: object, such as "table users", → its definition as text."""

    def handle(self) -> AbstractContextManager[Any]:
        """A psycopg Connection in a transaction that commits when the block ends well."""
