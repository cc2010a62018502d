"""Lockstep's side of a part: a run is opened and planned here, its shards are done in processes of their own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from benchmarks import children, project, work
from benchmarks.children import Answer, Job
from benchmarks.places import Places
from lockstep.domain.chain import load_chain
from lockstep.domain.revision import Revision
from lockstep.domain.run import Caller, Run
from lockstep.domain.status import Status
from lockstep.engine.opening import open_run
from lockstep.engine.services import Services
from lockstep.engine.steps import plan_step

#: Nobody else: the ledger is fresh.
DAG_RUN = "benchmark"
#: Where revisions look for `resources`.
PATHS = (str(project.INCLUDE),)


@dataclass(frozen=True, kw_only=True)
class Opened:
    """A run that is open."""

    where: Mapping[str, Any]
    services: Services
    revision: Revision
    run: Run

    def job(self, function: str, **arguments: Any) -> Job:
        return Job(
            function=f"benchmarks.work:{function}", arguments={"where": self.where, **arguments}, paths=PATHS
        )

    def pass_backup(self) -> None:
        """Open the way to the data without a backup: that is a part of its own."""
        with self.services.ledger.unit() as unit:
            unit.change_run(self.run.id, backed_up=True)
            unit.set_status(self.revision.id, Status.UPGRADING, run_id=self.run.id)

    def plan(self, shards: int) -> list[str]:
        return plan_step(self.services, self.revision, self.run, "upgrade", 1, shards=shards)

    def shards(self, count: int, function: str = "shard", **more: Any) -> list[Answer]:
        """Do the planned shards of the upgrade's only step at the same time."""
        jobs = [self.job(function, phase="upgrade", step=1, number=number, **more) for number in range(count)]
        return children.run_together(jobs)

    def close(self) -> None:
        """Leave no connection open: the databases are dropped after each measurement."""
        self.services.ledger.close()  # type: ignore[attr-defined]
        for database in self.revision.databases:
            self.services.stores(database).close()  # type: ignore[union-attr]


@contextmanager
def opened(
    places: Places,
    revision: str,
    *,
    mongo_db: str = "",
    bucket: str = "",
    settings: Mapping[str, Any] | None = None,
) -> Iterator[Opened]:
    """Open a run of one revision over a fresh ledger, its databases being as they are."""
    places.fresh_ledger()
    folder = project.chain(places.root / "work" / places.name("chain"), [revision])
    with places.bucket() as vault:
        where = {
            "rows_uri": places.rows_uri,
            "ledger_uri": places.ledger_uri,
            "mongo_uri": places.servers.mongo_uri,
            "mongo_db": mongo_db,
            "s3": places.s3_kwargs,
            "bucket": bucket,
            "vault": vault,
            "pg_bin": str(places.servers.pg_bin),
            "migrations": str(folder),
            "settings": dict(settings or {}),
            "revision": "0001",
        }
        services = work.services_of(where)
        chain = load_chain(folder)
        found = chain["0001"]
        caller = Caller(dag_id=found.dag_id, dag_run_id=DAG_RUN)
        run = open_run(
            services,
            chain,
            found,
            direction="upgrade",
            caller=caller,
            params={},
            alive=lambda other: False,
        )
        where |= {"dag_id": caller.dag_id, "dag_run_id": caller.dag_run_id}
        one = Opened(where=where, services=services, revision=found, run=run)
        try:
            yield one
        finally:
            one.close()
            shutil.rmtree(folder)


def batches_only(one: Opened, shards: int) -> tuple[float, Sequence[Answer]]:
    """Do the upgrade's step without a backup before it; return seconds and the shards' answers."""
    one.pass_backup()
    labels = one.plan(shards)
    answers = one.shards(len(labels))
    return children.seconds_of(answers), answers


def total(answers: Sequence[Answer], what: str) -> int:
    """Return the sum of what the shards say of themselves."""
    return sum(answer.value[what] for answer in answers)
