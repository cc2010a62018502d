"""What every use case is given: ledger, vault, stores, sinks, settings and a log."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

from lockstep.domain.environment import DEFAULT, Environment
from lockstep.domain.pacing import Limits, Signal
from lockstep.domain.resources import Bucket, Database, Mongo, Postgres
from lockstep.engine.ports import (
    Announcer,
    DocumentStore,
    Ledger,
    Meter,
    NoMeter,
    ObjectStore,
    Sink,
    TableStore,
    Vault,
)


class Log(Protocol):
    """A structured log that a person reads after a failure."""

    def info(self, event: str, **fields: Any) -> None: ...

    def warning(self, event: str, **fields: Any) -> None: ...

    def error(self, event: str, **fields: Any) -> None: ...

    def group(self, title: str) -> AbstractContextManager[None]:
        """Fold what is logged inside under a title."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Plain settings of a run; the defaults suit a machine of two cores."""

    #: seconds that a batch aims at
    batch_seconds: float = 1.0
    #: at most so many records commit together, whatever the time says
    batch_rows: int = 50_000
    batch_documents: int = 5000
    batch_objects: int = 500
    #: and at least so many, unless that is more than the most
    batch_least: int = 10
    #: bytes that a batch may hold in memory
    batch_bytes: int = 64 * 1024 * 1024
    #: at most so many shards of one operation
    shards: int = 4
    #: and each of at least so many records
    rows_per_shard: int = 500_000
    documents_per_shard: int = 50_000
    objects_per_shard: int = 1000
    #: seconds that a run's lease lasts without renewal
    lease_seconds: float = 120.0
    #: what a record that cannot be carried does: "fail" ends the upgrade, "quarantine" leaves it as it was
    bad_records: str = "fail"
    #: records that one run may leave in quarantine
    quarantine_budget: int = 100
    #: when the upgrade may work, such as "01:00-05:00 Asia/Singapore"; empty for always
    window: str = ""
    #: how much the run may press on the databases
    limits: Limits = field(default_factory=Limits)
    #: seconds that a worker waits in a hold before it is given back
    patience: float = 20.0
    #: whether tables are vacuumed while batches update them
    vacuum: bool = True
    #: what a failed upgrade does: "downgrade" undoes it, "ask" waits for a person to choose, "restore" puts the
    #: backup back, "leave" stops there
    on_failure: str = "downgrade"
    #: and where that fails too: "ask", "restore" or "leave"
    on_undo_failure: str = "leave"
    #: how backups are proven: "checksum", "restore", or "auto", which restores those up to a size
    proof: str = "auto"
    #: bytes of a database's backup up to which "auto" restores it
    proof_restore_bytes: int = 1024**3
    #: whether a resource that is unchanged since an earlier proven backup may use that one's files again
    reuse_backups: bool = False


Store = TableStore | DocumentStore | ObjectStore


@dataclass(frozen=True, kw_only=True)
class Services:
    ledger: Ledger
    vault: Vault
    #: opens the store of a database; called once for each
    stores: Callable[[Database], Store]
    log: Log
    #: opens where events go: most tasks never ask
    sinks: Callable[[], tuple[Sink, ...]] = tuple
    #: opens who is told of rehearsals: most tasks never ask
    announcers: Callable[[], tuple[Announcer, ...]] = tuple
    #: the project's own signals, by name
    signals: Mapping[str, Signal] = field(default_factory=dict)
    #: told what a shard came to, from time to time: for whoever shows it live
    told: Callable[[Mapping[str, Any]], None] = lambda facts: None
    settings: Settings = field(default_factory=Settings)
    #: counts and times what is done
    meter: Meter = field(default_factory=NoMeter)
    #: whose connections ledger, vault and stores were opened with
    environment: Environment = DEFAULT
    #: called with a place's name at each point where a crash would be hardest; tests kill there
    reached: Callable[[str], None] = lambda place: None

    _opened: dict[Database, Store] = field(default_factory=dict, init=False, repr=False, compare=False)

    def store(self, database: Database) -> Store:
        if database not in self._opened:
            store = self.stores(database)
            store.check()
            self._opened[database] = store
        return self._opened[database]

    def tables(self, database: Postgres) -> TableStore:
        return cast(TableStore, self.store(database))

    def documents(self, database: Mongo) -> DocumentStore:
        return cast(DocumentStore, self.store(database))

    def objects(self, database: Bucket) -> ObjectStore:
        return cast(ObjectStore, self.store(database))
