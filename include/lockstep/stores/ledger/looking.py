"""The ledger for whoever only looks: every transaction is read only, and tables that are not there yet are empty."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

from lockstep.domain.errors import Refused
from lockstep.domain.run import RevisionState, Run
from lockstep.domain.status import RunStatus
from lockstep.stores.ledger import schema
from lockstep.stores.ledger.connect import Connections, Db, Isolation
from lockstep.stores.ledger.ledger import PostgresLedger
from lockstep.stores.ledger.unit import PostgresLedgerUnit

#: SQLSTATEs of a table and of a column that are not there: of a ledger that was never, or long not, brought up to date
_NOT_THERE = ("42P01", "42703")

Asking = TypeVar("Asking", bound=Callable[..., Any])


def _empty_where_missing(ask: Asking, nothing: Callable[[], Any]) -> Asking:
    """Return a method that answers with nothing where the ledger has no such table yet."""

    def tolerant(self: Any, *given: Any, **more: Any) -> Any:
        try:
            return ask(self, *given, **more)
        except Refused as problem:
            if problem.fields.get("sqlstate") in _NOT_THERE:
                return nothing()
            raise

    return tolerant  # type: ignore[return-value]


class _ReadOnly(Connections):
    """Connections whose transactions the server lets write nothing."""

    @contextmanager
    def transaction(
        self, *, isolation: Isolation = "REPEATABLE READ READ ONLY", seconds: int = 60, idle: int = 60
    ) -> Iterator[Db]:
        with super().transaction(isolation="REPEATABLE READ READ ONLY", seconds=seconds, idle=idle) as db:
            yield db


class LookingLedger(PostgresLedger):
    """A ledger that is read and never written, its own schema included.

    What would be registered in a unit is kept in memory, so that a plan sees it; anything else that would be
    written is refused.
    """

    def __init__(
        self, conninfo: str, *, conn_id: str = "lockstep_ledger", lock_timeout: float = 10.0
    ) -> None:
        super().__init__(conninfo, conn_id=conn_id, lock_timeout=lock_timeout)
        self._connections = _ReadOnly(conninfo, conn_id=conn_id, lock_timeout=lock_timeout)

    def check(self) -> Mapping[str, str]:
        """Answer with server facts; `schema` is the version that is installed, 0 for none."""
        return schema.look(self._connections)

    @contextmanager
    def unit(self) -> Iterator[PostgresLedgerUnit]:
        """Open what looks like a unit; it takes no lock."""
        yield _Unit(self)

    revisions = _empty_where_missing(PostgresLedger.revisions, dict)
    run_of = _empty_where_missing(PostgresLedger.run_of, lambda: None)
    runs = _empty_where_missing(PostgresLedger.runs, list)
    shards = _empty_where_missing(PostgresLedger.shards, list)
    batches = _empty_where_missing(PostgresLedger.batches, list)
    quarantined = _empty_where_missing(PostgresLedger.quarantined, list)
    lease_age = _empty_where_missing(PostgresLedger.lease_age, lambda: None)
    ended_leases = _empty_where_missing(PostgresLedger.ended_leases, list)
    backups = _empty_where_missing(PostgresLedger.backups, list)
    stored_backups = _empty_where_missing(PostgresLedger.stored_backups, list)
    parked = _empty_where_missing(PostgresLedger.parked, list)
    shapes = _empty_where_missing(PostgresLedger.shapes, dict)
    rehearsals = _empty_where_missing(PostgresLedger.rehearsals, list)
    rehearsal_of = _empty_where_missing(PostgresLedger.rehearsal_of, lambda: None)
    comparisons = _empty_where_missing(PostgresLedger.comparisons, list)
    approvals = _empty_where_missing(PostgresLedger.approvals, list)
    history = _empty_where_missing(PostgresLedger.history, list)
    waiting_for = _empty_where_missing(PostgresLedger.waiting_for, int)


class _Unit(PostgresLedgerUnit):
    """Reads of a unit; every write is refused."""

    def __init__(self, ledger: LookingLedger) -> None:
        self._ledger = ledger
        self._registered: dict[str, RevisionState] = {}

    @property
    def _db(self) -> Db:  # type: ignore[override]
        return _refused()

    @property
    def db(self) -> Db:
        return _refused()

    def revisions(self) -> dict[str, RevisionState]:
        return {**self._ledger.revisions(), **self._registered}

    def open_run(self) -> Run | None:
        return next((run for run in self._ledger.runs() if run.status is RunStatus.OPEN), None)

    def run(self, run_id: str) -> Run:
        return self._ledger.run(run_id)

    def register(self, state: RevisionState) -> None:
        self._registered[state.id] = state

    def append(self, *entry: Any, **more: Any) -> NoReturn:
        _refused()


def _refused() -> NoReturn:
    raise Refused("the ledger is only looked at here: a dry run, or a plan, writes nothing to it.")
