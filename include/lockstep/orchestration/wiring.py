"""The one place where Airflow's connections become stores, ledger, vault and sinks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.domain.environment import Environment
from lockstep.domain.resources import Bucket, Database, Mongo, Postgres
from lockstep.orchestration.connections import (
    bucket_access,
    fetch,
    mongo_access,
    postgres_conninfo,
)

if TYPE_CHECKING:
    from lockstep.engine.planning.sizes import Look
    from lockstep.engine.ports import Ledger, Sink, Vault
    from lockstep.engine.ports.lookers import Looker
    from lockstep.engine.services import Log, Services, Store

#: environment variable → connection id unless it says otherwise, before the environment's prefix
LEDGER = ("LOCKSTEP_LEDGER_CONN_ID", "lockstep_ledger")
VAULT = ("LOCKSTEP_VAULT_CONN_ID", "lockstep_vault")
YAPPER = ("LOCKSTEP_YAPPER_CONN_ID", "lockstep_yapper")
#: folder of pg_dump and pg_restore, where they are not on PATH
PG_BIN = "LOCKSTEP_PG_BIN"


def services_for(
    params: Mapping[str, Any], log: Log, told: Callable[[Mapping[str, Any]], None] = lambda facts: None
) -> Services:
    """Return what the engine works with. Drivers and the project's signals are imported here, when a task runs.

    `told`: called with what a shard came to, from time to time. In a dry run, nothing that is opened here can be written.
    """
    from lockstep.engine.services import Services
    from lockstep.orchestration.announcers import announcers
    from lockstep.orchestration.environments import environment_of
    from lockstep.orchestration.metrics import AirflowMeter
    from lockstep.orchestration.params import DRY_RUN, settings_from
    from lockstep.orchestration.signals import project_signals

    environment = environment_of(params)
    looking = bool(params.get(DRY_RUN))
    return Services(
        ledger=looking_ledger(environment) if looking else ledger(environment),
        vault=vault(environment, looking=looking),
        stores=partial(open_store, environment=environment, looking=looking),
        sinks=partial(sinks, log, environment),
        announcers=partial(announcers, log, environment),
        environment=environment,
        meter=AirflowMeter(),
        signals=project_signals(),
        told=told,
        settings=settings_from(params),
        log=log,
    )


def conn_id_of(named: tuple[str, str]) -> str:
    """Return the connection id that the environment names, or the default."""
    variable, default = named
    return os.environ.get(variable, "").strip() or default


def conn_id_in(environment: Environment | None, named: tuple[str, str]) -> str:
    """Return Airflow's connection id of one of Lockstep's own, in an environment; None: the default one."""
    from lockstep.orchestration.environments import default_environment

    return (environment or default_environment()).conn_id(conn_id_of(named))


def ledger(environment: Environment | None = None) -> Ledger:
    """Open an environment's ledger; the default one's where none is given."""
    return ledger_at(conn_id_in(environment, LEDGER))


def ledger_at(conn_id: str) -> Ledger:
    """Open the ledger that an Airflow connection leads to."""
    from lockstep.orchestration.surroundings import surroundings
    from lockstep.stores.ledger.ledger import PostgresLedger

    connection = fetch(conn_id, "postgres", "the ledger: Lockstep's own tables, in a database of their own")
    return PostgresLedger(postgres_conninfo(connection), conn_id=conn_id, surroundings=surroundings())


def looking_ledger(environment: Environment | None = None) -> Ledger:
    """Open an environment's ledger to read it: nothing is written, its own schema included."""
    from lockstep.stores.ledger.looking import LookingLedger

    conn_id = conn_id_in(environment, LEDGER)
    connection = fetch(conn_id, "postgres", "the ledger: Lockstep's own tables, in a database of their own")
    return LookingLedger(postgres_conninfo(connection), conn_id=conn_id)


def vault(environment: Environment | None = None, *, looking: bool = False) -> Vault:
    """Open an environment's vault; the default one's where none is given. `looking`: one that is only read."""
    from lockstep.stores.vault import S3Vault
    from lockstep.stores.vault.looking import LookingVault

    conn_id = conn_id_in(environment, VAULT)
    access = bucket_access(fetch(conn_id, "aws", "the vault: the bucket of backups and journals"))
    kind = LookingVault if looking else S3Vault
    return kind(dict(access.client), access.bucket, conn_id=conn_id, put_arguments=access.put)


def sinks(log: Log, environment: Environment | None = None) -> tuple[Sink, ...]:
    """Return where events go; only a task that delivers them may ask. Without any sink they stay in the outbox."""
    from lockstep.orchestration.environments import default_environment
    from lockstep.orchestration.sinks import configured

    return configured(log, environment or default_environment())


def look_in(environment: Environment) -> Look:
    """Return what looks at an environment's databases, each opened once and only to be read."""
    from lockstep.stores.lookers import looker

    @cache
    def look(database: Database) -> Looker:
        return looker(database, open_store(database, environment, looking=True))

    return look


def open_store(database: Database, environment: Environment | None = None, *, looking: bool = False) -> Store:
    """Open the store of a database that a revision declares, through an environment's connection.

    `looking`: it is only read, and not even asked what it could do by trying.
    """
    conn_id = in_environment(environment, database)
    if isinstance(database, Postgres):
        from lockstep.stores.postgres.store import PostgresStore

        connection = fetch(conn_id, "postgres", "a PostgreSQL database of resources.py")
        return PostgresStore(database, postgres_conninfo(connection), pg_bin=_pg_bin(), read_only=looking)
    if isinstance(database, Mongo):
        from lockstep.stores.mongo.store import MongoStore

        connection = fetch(conn_id, "mongo", "a MongoDB database of resources.py")
        return MongoStore(database, *mongo_access(connection), read_only=looking)
    return open_bucket(database, conn_id, looking=looking)


def in_environment(environment: Environment | None, database: Database) -> str:
    """Return Airflow's connection id of a database that a revision declares."""
    from lockstep.orchestration.environments import default_environment

    return (environment or default_environment()).conn_id(database.conn_id)


def _pg_bin() -> Path | None:
    named = os.environ.get(PG_BIN, "").strip()
    return Path(named) if named else None


def open_bucket(database: Bucket, conn_id: str, *, looking: bool = False) -> Store:
    from lockstep.stores.s3.store import S3Store

    access = bucket_access(fetch(conn_id, "aws", "a bucket of resources.py"), database.bucket)
    return S3Store(database, dict(access.client), access.bucket, read_only=looking)
