"""Lockstep's side of a job, in the process that does it: what an Airflow task would call."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from lockstep.domain.chain import load_chain
from lockstep.domain.progress import Phase
from lockstep.domain.resources import Bucket, Database, Mongo, Postgres
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.engine.backup import take_backup
from lockstep.engine.opening import current_run
from lockstep.engine.services import Services, Settings, Store
from lockstep.engine.steps import run_step_shard
from lockstep.engine.verify import verify
from lockstep.stores.ledger.ledger import PostgresLedger
from lockstep.stores.mongo.store import MongoStore
from lockstep.stores.postgres import checkpoints
from lockstep.stores.postgres.store import PostgresStore
from lockstep.stores.s3.store import S3Store
from lockstep.stores.vault import S3Vault

#: Where everything is, and which run it is about; JSON carries it to other processes.
Where = Mapping[str, Any]


class WarningsOnly:
    """A log that shows what a person should look at."""

    def info(self, event: str, **fields: Any) -> None:
        pass

    def warning(self, event: str, **fields: Any) -> None:
        print(f"warning: {event} {fields or ''}", file=sys.stderr)

    error = warning

    @contextmanager
    def group(self, title: str) -> Iterator[None]:
        yield


def services_of(where: Where) -> Services:
    """Return what the engine works with, as a task's wiring would."""

    @cache
    def stores(database: Database) -> Store:
        if isinstance(database, Postgres):
            return PostgresStore(database, where["rows_uri"], pg_bin=Path(where["pg_bin"]))
        if isinstance(database, Mongo):
            return MongoStore(database, where["mongo_uri"], where["mongo_db"])
        assert isinstance(database, Bucket)
        return S3Store(database, where["s3"], where["bucket"])

    return Services(
        ledger=PostgresLedger(where["ledger_uri"]),
        vault=S3Vault(where["s3"], where["vault"]),
        stores=stores,
        log=WarningsOnly(),
        settings=Settings(**where["settings"]),
    )


def task(where: Where) -> tuple[Services, Revision, Run]:
    """Return what every task has: services, its revision, the ledger's run."""
    services = services_of(where)
    revision = load_chain(Path(where["migrations"]))[where["revision"]]
    return services, revision, current_run(services, where["dag_id"], where["dag_run_id"])


def shard(where: Where, phase: Phase, step: int, number: int) -> dict[str, Any]:
    """Do one shard of one step."""
    services, revision, run = task(where)
    return run_step_shard(services, revision, run, phase, step, number, holder="benchmark")


def verified(where: Where) -> dict[str, Any]:
    """Verify the upgrade."""
    return verify(*task(where))


def backed_up(where: Where) -> dict[str, Any]:
    """Back up what the revision touches; say how long the archive alone took to be made and kept."""
    services, revision, run = task(where)
    spent = Spent()
    spent.around(services.vault, "write_many")
    said: dict[str, Any] = {}
    for database in revision.databases:
        said |= take_backup(services, revision, run, database)
    return {**said, "archive_seconds": spent.seconds["write_many"]}


def counted_shard(where: Where, phase: Phase, step: int, number: int) -> dict[str, Any]:
    """Do one shard of one step; say what ledger, lease, checkpoint and signals took of it."""
    services, revision, run = task(where)
    spent = Spent()
    ledger = services.ledger
    for name in (name for name in dir(PostgresLedger) if not name.startswith("_") and name != "close"):
        spent.around(ledger, name, "lease" if name == "heartbeat" else "ledger")
    for name in ("claim", "hold", "save"):
        spent.around(checkpoints, name, "checkpoint")
    for database in revision.databases:
        spent.around(services.stores(database), "pressure", "signals")
    said = run_step_shard(services, revision, run, phase, step, number, holder="benchmark")
    if spent.calls["checkpoint"] < said["batches"]:
        raise RuntimeError(
            f"only {spent.calls['checkpoint']} checkpoint calls were seen: it is done elsewhere now"
        )
    return {**said, "spent": {f"{name}_seconds": seconds for name, seconds in spent.seconds.items()}}


def shard_without_checkpoints(where: Where, phase: Phase, step: int, number: int) -> dict[str, Any]:
    """Do one shard of one step with batches that leave no checkpoint and look at no fence."""
    for name in ("hold", "save"):
        getattr(checkpoints, name)  # AttributeError where it is done elsewhere now
        setattr(checkpoints, name, lambda *given: None)
    return shard(where, phase, step, number)


class Spent:
    """Seconds that calls took in the thread that does the work, by name."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.calls: dict[str, int] = {}
        self._thread = threading.get_ident()
        self._inside = False

    def around(self, owner: Any, name: str, as_name: str | None = None) -> None:
        """Measure a function of a module or an object from now on; AttributeError where it has none."""
        function: Callable[..., Any] = getattr(owner, name)
        label = as_name or name
        self.seconds.setdefault(label, 0.0)
        self.calls.setdefault(label, 0)

        def measured(*args: Any, **more: Any) -> Any:
            # A call from within another is in that one's time, one of another thread in nobody's.
            if self._inside or threading.get_ident() != self._thread:
                return function(*args, **more)
            self._inside = True
            began = time.perf_counter()
            try:
                return function(*args, **more)
            finally:
                self.seconds[label] += time.perf_counter() - began
                self.calls[label] += 1
                self._inside = False

        setattr(owner, name, measured)
