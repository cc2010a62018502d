"""What a rehearsal needs of the outside: a ledger of its own, gauges, and processes for its shards."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.domain.environment import Environment
from lockstep.domain.errors import Refused
from lockstep.domain.resources import Bucket, Database, Mongo, Postgres
from lockstep.orchestration.connections import bucket_access, fetch, lookup, mongo_access, postgres_conninfo
from lockstep.orchestration.environments import environments
from lockstep.orchestration.wiring import LEDGER, VAULT, conn_id_in, conn_id_of

if TYPE_CHECKING:
    from lockstep.engine.ports import Ledger
    from lockstep.engine.ports.gauges import Gauge
    from lockstep.engine.rehearsing.crew import Crew
    from lockstep.engine.rehearsing.stage import Backstage, Stage
    from lockstep.engine.services import Store
    from lockstep.orchestration.shards_apart import Place


def backstage_for(databases: Sequence[Database], environment: Environment) -> Backstage:
    """Return what a rehearsal of revisions over these databases of an environment needs."""
    from lockstep.engine.rehearsing.stage import Backstage
    from lockstep.stores.ledger import scratch

    conn_id = conn_id_in(environment, LEDGER)
    conninfo = _ledger_conninfo(conn_id)
    return Backstage(
        live=live_names(databases, environment),
        make_ledger=lambda name: _ledger_at(scratch.make_scratch(conninfo, name, conn_id=conn_id), conn_id),
        drop_ledger=lambda name: scratch.drop_scratch(conninfo, name, conn_id=conn_id),
        ledger_scratches=lambda: scratch.scratches(conninfo, conn_id=conn_id),
        gauge=gauge_of,
        crew=partial(_crew, environment),
        slots=slots(),
    )


def live_names(databases: Sequence[Database], environment: Environment) -> frozenset[str]:
    """Return the names of the databases and buckets that connections lead to, the ledgers' among them.

    Those of every environment: what is live in one must not be taken for a copy in another. Raises Refused where
    the environment's own connections lack; one of another environment may not be there yet.
    """
    names: set[str] = set()
    for one in environments():
        for database in (Postgres(conn_id_of(LEDGER)), *databases):
            try:
                if one == environment or lookup(one.conn_id(database.conn_id)) is not None:
                    names.add(_name_of(database, one.conn_id(database.conn_id)))
            except Refused:
                if one == environment:
                    raise
    return frozenset(names)


def _name_of(database: Database, conn_id: str) -> str:
    """Return the name that a database has on its server."""
    if isinstance(database, Mongo):
        return mongo_access(fetch(conn_id, "mongo", "a MongoDB database of resources.py"))[1]
    if isinstance(database, Bucket):
        found = fetch(conn_id, "aws", "a bucket of resources.py")
        return bucket_access(found, database.bucket).bucket
    return str(fetch(conn_id, "postgres", "a PostgreSQL database of resources.py, or the ledger").schema)


def gauge_of(database: Database, store: Store) -> Gauge:
    """Return what measures a copy."""
    from lockstep.stores.gauges import gauge

    return gauge(database, store)


def slots() -> int:
    """Return how many tasks Airflow has room for at once, as far as its settings say; never more than processors."""
    from airflow.sdk.configuration import conf

    # Shards that share a processor take turns on it: more of them at once would be slower each and no faster in all.
    return max(1, min(int(conf.getint("core", "parallelism", fallback=2)), os.cpu_count() or 2))


def _ledger_conninfo(conn_id: str) -> str:
    return postgres_conninfo(fetch(conn_id, "postgres", "the ledger: Lockstep's own tables"))


def _ledger_at(conninfo: str, conn_id: str) -> Ledger:
    from lockstep.stores.ledger.ledger import PostgresLedger

    return PostgresLedger(conninfo, conn_id=conn_id)


def _crew(environment: Environment, stage: Stage, folder: Path) -> AbstractContextManager[Crew]:
    from lockstep.orchestration.crew import Processes

    conn_id = conn_id_in(environment, LEDGER)
    ledger = _ledger_conninfo(conn_id) + f" dbname={stage.ledger_name}"
    access = bucket_access(fetch(conn_id_in(environment, VAULT), "aws", "the vault"))
    vault = (dict(access.client), access.bucket, dict(access.put))
    return Processes(place_of(stage, folder, ledger=ledger, vault=vault), slots())


def place_of(
    stage: Stage, folder: Path, *, ledger: str, vault: tuple[dict[str, Any], str, dict[str, Any]]
) -> Place:
    """Return what the processes of a crew are given: the way to the copies, and to nothing that is live."""
    from lockstep.engine.rehearsing.vault import FolderVault
    from lockstep.orchestration.shards_apart import Place
    from lockstep.stores.gauges.reach import reach_of

    own = stage.services.vault
    assert isinstance(own, FolderVault)
    return Place(
        migrations=str(folder),
        paths=tuple(sys.path),
        ledger=ledger,
        vault=vault,
        folder=own.folder,
        copies=tuple(reach_of(store) for store in stage.copies.values()),  # type: ignore[arg-type]
        settings=stage.services.settings,
    )
