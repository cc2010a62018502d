"""Rehearsals over the servers of the tests, task by task as the DAG has them, without Airflow."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from driver import PlainLog
from world import World, factory_of

from lockstep.domain.chain import load_chain
from lockstep.domain.rehearsal import FRESH, Asked, Rehearsal
from lockstep.domain.run import Caller
from lockstep.engine.rehearsing.crew import Crew, InTurn
from lockstep.engine.rehearsing.dropping import drop_rehearsal
from lockstep.engine.rehearsing.ending import end_rehearsal, write_report
from lockstep.engine.rehearsing.opening import Plan, open_rehearsal
from lockstep.engine.rehearsing.source import back_up_live
from lockstep.engine.rehearsing.stage import Backstage, Stage
from lockstep.engine.rehearsing.trying import try_out
from lockstep.engine.services import Services
from lockstep.stores.gauges import gauge
from lockstep.stores.ledger import PostgresLedger, scratch

LEDGER = "lockstep_ledger"


@contextmanager
def one_after_another(stage: Stage, folder: Path) -> Iterator[Crew]:
    """Give a crew of one, in this process."""
    by_stem = {revision.stem: revision for revision in load_chain(folder).revisions}
    yield InTurn(services=stage.services, revision_of=by_stem.__getitem__)


def backstage_of(world: World, **changes: Any) -> Backstage:
    given: dict[str, Any] = {
        "live": {uri.rpartition("/")[2] for uri in (world.auth_uri, world.api_uri, world.ledger_uri)}
        | {world.mongo_db, world.bucket},
        "make_ledger": lambda name: PostgresLedger(
            scratch.make_scratch(world.ledger_uri, name, conn_id=LEDGER)
        ),
        "drop_ledger": lambda name: scratch.drop_scratch(world.ledger_uri, name, conn_id=LEDGER),
        "ledger_scratches": lambda: scratch.scratches(world.ledger_uri, conn_id=LEDGER),
        "gauge": gauge,
        "crew": one_after_another,
        "slots": 1,
        "task_seconds": 0.0,
    }
    return Backstage(**{**given, **changes})


@dataclass
class Rehearser:
    """An Airflow of one worker for the DAG rehearse."""

    world: World
    services: Services
    log: PlainLog
    backstage: Backstage
    runs: int = 0
    ids: list[str] = field(default_factory=list)
    reports: list[dict[str, Any]] = field(default_factory=list)

    def open(self, target: str = "head", **asked: Any) -> Plan:
        self.runs += 1
        plan = open_rehearsal(
            self.services,
            load_chain(self.world.migrations),
            target=target,
            asked=Asked(**asked),
            caller=Caller(dag_id="rehearse", dag_run_id=f"rehearse-{self.runs}", by="olga"),
            params={"target": target, **asked},
        )
        self.ids.append(plan.rehearsal.id)
        return plan

    def back_up(self, plan: Plan) -> None:
        if plan.asked.source == FRESH:
            for wanted in plan.wanted:
                back_up_live(self.services, plan, wanted)

    def attempt(self, plan: Plan, number: int = 1) -> None:
        chain = load_chain(self.world.migrations)
        measured = try_out(self.services, self.backstage, chain, plan, self.world.migrations, attempt=number)
        write_report(self.services, self.backstage, plan, measured)

    def end(self, plan: Plan) -> Rehearsal:
        ended, report = end_rehearsal(self.services, plan.rehearsal, why_stopped="it was killed")
        self.reports.append(report)
        drop_rehearsal(self.services, self.backstage, ended, plan.wanted, keep=plan.asked.keep)
        return ended

    def go(self, target: str = "head", **asked: Any) -> Rehearsal:
        """Rehearse from the trigger to the end."""
        plan = self.open(target, **asked)
        self.back_up(plan)
        self.attempt(plan)
        return self.end(plan)

    @property
    def report(self) -> dict[str, Any]:
        return self.reports[-1]

    def scratch_spaces(self) -> list[str]:
        """Return all of this one's rehearsals that are there, asked of the servers themselves."""
        found = [
            name
            for (name,) in self.world.rows(
                "SELECT datname FROM pg_database WHERE datname LIKE 'lockstep_scratch_%'", self.world.auth_uri
            )
        ]
        import pymongo

        with pymongo.MongoClient(self.world.mongo_uri) as client:
            found += [name for name in client.list_database_names() if name.startswith("lockstep_scratch_")]
        listed = self.world.s3.list_objects_v2(Bucket=self.world.bucket, Prefix="_lockstep/scratch/")
        found += [one["Key"] for one in listed.get("Contents", [])]
        return [name for name in found if any(rehearsal in name for rehearsal in self.ids)]


def rehearser_of(
    world: World, reached: Callable[[str], None] = lambda place: None, *, crew: Any = None, **settings: Any
) -> Rehearser:
    log = PlainLog()
    services = factory_of(
        world, log, **{"rows_per_shard": 200, "documents_per_shard": 200, "objects_per_shard": 20, **settings}
    )(reached)
    backstage = backstage_of(world, **({"crew": crew} if crew else {}))
    return Rehearser(world=world, services=services, log=log, backstage=backstage)
