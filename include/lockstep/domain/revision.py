"""A revision: one step of the chain, as its file declares it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from lockstep.domain.errors import OperationError
from lockstep.domain.expectations import Expectation
from lockstep.domain.operations.base import Operation
from lockstep.domain.operations.restore import Restore
from lockstep.domain.resources import Database, Touched

Transaction = Literal["atomic", "batched"]
Direction = Literal["upgrade", "downgrade"]


@dataclass(frozen=True, kw_only=True)
class Revision:
    id: str
    down_revision: str | None
    #: the file, as a person would name it from the project's root
    file: str
    #: the file's name without its ending; the DAG is named after it
    stem: str
    source: str
    #: SHA-256 of the file's bytes, hexadecimal
    checksum: str
    doc: str
    transaction: Transaction
    upgrade: tuple[Operation, ...]
    downgrade: tuple[Operation, ...]
    expectations: tuple[Expectation, ...]

    @property
    def description(self) -> str:
        return self.doc.strip().splitlines()[0] if self.doc.strip() else self.stem

    @property
    def dag_id(self) -> str:
        return f"revision_{self.stem}"

    @property
    def touched(self) -> tuple[Touched, ...]:
        """What either direction may change, each once, in order of first use."""
        return tuple(dict.fromkeys(t for op in self.upgrade + self.downgrade for t in op.writes))

    @property
    def databases(self) -> tuple[Database, ...]:
        """The databases that either direction may change, sorted by connection id."""
        found = {t.database for t in self.touched}
        return tuple(sorted(found, key=lambda database: (database.conn_id, str(database))))

    @property
    def storage_type(self) -> str:
        """The kinds of storage it touches: table, document, object."""
        return ", ".join(sorted({database.kind for database in self.databases}))

    def operations(self, direction: Direction) -> tuple[Operation, ...]:
        return self.upgrade if direction == "upgrade" else self.downgrade

    def is_atomic(self, direction: Direction) -> bool:
        """Whether this direction runs as one PostgreSQL transaction."""
        if self.transaction == "batched":
            return False
        return not why_not_atomic(self.operations(direction))


def why_not_atomic(operations: Iterable[Operation]) -> str | None:
    """Return why these operations cannot be one PostgreSQL transaction, or None if they can."""
    listed = tuple(operations)
    for operation in listed:
        if not operation.fits_in_transaction:
            return f"ops.{operation.verb} on {operation.database.conn_id} cannot sit inside one"
    databases = sorted({operation.database.conn_id for operation in listed})
    if len(databases) > 1:
        return f"the operations commit in {len(databases)} databases ({', '.join(databases)})"
    return None


def choose_transaction(
    declared: str | None, upgrade: tuple[Operation, ...], expectations: tuple[Expectation, ...]
) -> Transaction:
    """Return the transaction mode: the declared one if the stores can honour it, else what follows.

    Without a declaration a revision is atomic when each operation fits into one PostgreSQL transaction of
    one database and none is batched; anything else is batched.
    """
    if declared not in (None, "atomic", "batched"):
        raise OperationError(f"transaction is {declared!r}. It is 'atomic' or 'batched'.")
    reason = why_not_atomic(upgrade) or _verified_elsewhere(upgrade, expectations)
    if declared == "atomic" and reason:
        raise OperationError(
            f"transaction = 'atomic' asks for one PostgreSQL transaction, and {reason}. "
            "Use transaction = 'batched', or split the revision."
        )
    if declared == "batched" or reason or not upgrade or any(op.batched for op in upgrade):
        return "atomic" if declared == "atomic" else "batched"
    return "atomic"


def _verified_elsewhere(upgrade: tuple[Operation, ...], expectations: tuple[Expectation, ...]) -> str | None:
    homes = {operation.database for operation in upgrade}
    for expectation in expectations:
        for resource in expectation.resources:
            if resource.database not in homes:
                return f"verify() reads {resource}, which lives outside it"
    return None


def check_restores(upgrade: tuple[Operation, ...], downgrade: tuple[Operation, ...]) -> None:
    """Raise OperationError for an ops.restore that no operation of upgrade() can feed."""
    for operation in upgrade:
        if isinstance(operation, Restore):
            raise OperationError("ops.restore belongs in downgrade(): upgrade() has nothing to take back.")
    restorable = {
        t for op in upgrade if op.way_back.name in ("JOURNAL", "PARKED", "INVERSE") for t in op.writes
    }
    for operation in downgrade:
        if isinstance(operation, Restore) and operation.resource not in restorable:
            raise OperationError(
                f"ops.restore({operation.resource}): no operation of upgrade() journals or parks it. "
                "Name a resource that upgrade() writes, or take this line out."
            )
