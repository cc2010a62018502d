"""(k) What a rehearsal predicts, against the real run on the same data."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from psycopg.conninfo import make_conninfo

from benchmarks import ours, people, project, work
from benchmarks.bench import Bench
from benchmarks.comparing import same
from benchmarks.measuring import Comparison, Measured, Part
from benchmarks.whole import alone
from lockstep.domain.chain import load_chain
from lockstep.domain.rehearsal import Asked, Rehearsal, Verdict
from lockstep.domain.run import Caller
from lockstep.engine.rehearsing.crew import Crew
from lockstep.engine.rehearsing.dropping import drop_rehearsal
from lockstep.engine.rehearsing.ending import end_rehearsal, write_report
from lockstep.engine.rehearsing.opening import open_rehearsal
from lockstep.engine.rehearsing.source import back_up_live
from lockstep.engine.rehearsing.stage import Backstage, Stage
from lockstep.engine.rehearsing.trying import try_out
from lockstep.orchestration.backstage import place_of
from lockstep.orchestration.crew import Processes
from lockstep.stores.gauges import gauge
from lockstep.stores.ledger import PostgresLedger, scratch

VERBS = ("update_rows", "transform_rows")
LEDGER = "lockstep_ledger"


class NotGreenError(RuntimeError):
    """A rehearsal that should have been green was not."""

    def __init__(self, rehearsal: Rehearsal) -> None:
        super().__init__(f"rehearsal {rehearsal.id} is {rehearsal.verdict}: {rehearsal.facts.get('why')}")


def run(bench: Bench) -> Part:
    """Rehearse each verb on a copy, then let the engine do it live; both begin with a fresh table."""
    measured: list[Measured] = []
    for number in range(1, bench.rounds(bench.sizes.rounds_long) + 1):
        for verb in VERBS:
            predicted = rehearsed(bench, verb)
            seconds = done_live(bench, verb)
            off = 100 * abs(seconds - predicted["seconds"]) / seconds
            bench.say(
                f"round {number}: {verb}: {predicted['seconds']:.2f} s predicted, {seconds:.2f} s taken"
            )
            facts = {**{f"predicted_{name}": value for name, value in predicted.items()}, "off_percent": off}
            measured.append(
                Measured(who=verb, round=number, seconds=seconds, records=bench.sizes.rows, facts=facts)
            )
    return Part(
        name="rehearsal",
        title="What a rehearsal predicts",
        how=(
            f"A whole run over {bench.sizes.rows:,} rows by the engine alone, at default settings, against what a "
            "rehearsal of the same revision on a copy of all of them had predicted right before it. Airflow's own time "
            "is left out of both.",
        ),
        measured=tuple(measured),
        comparisons=tuple(
            Comparison(
                title=f"{verb}: the prediction is off by",
                values=tuple(one.facts["off_percent"] for one in measured if one.who == verb),
                unit="%",
                better="lower",
                bar=25,
            )
            for verb in VERBS
        ),
    )


def done_live(bench: Bench, verb: str) -> float:
    """Return the seconds of a real run."""
    template = bench.places.fresh_rows(bench.sizes.rows)
    with ours.opened(bench.places, verb, settings=bench.settings) as one:
        seconds = alone(one, bench.default_shards)
    same(verb, template.wanted, people.content(bench.places.rows_uri))
    return sum(seconds.values())


def rehearsed(bench: Bench, verb: str) -> dict[str, float]:
    """Rehearse one revision; return what it predicts: seconds, low and high."""
    places = bench.places
    places.fresh_rows(bench.sizes.rows)
    places.fresh_ledger()
    folder = project.chain(places.root / "work" / places.name("chain"), [verb])
    with places.bucket() as vault:
        where: Mapping[str, Any] = {
            "rows_uri": places.rows_uri,
            "ledger_uri": places.ledger_uri,
            "mongo_uri": places.servers.mongo_uri,
            "mongo_db": "",
            "s3": places.s3_kwargs,
            "bucket": "",
            "vault": vault,
            "pg_bin": str(places.servers.pg_bin),
            "migrations": str(folder),
            "settings": dict(bench.settings),
        }
        services, backstage = work.services_of(where), backstage_of(where, bench.default_shards)
        chain = load_chain(folder)
        caller = Caller(dag_id="rehearse", dag_run_id="benchmark")
        plan = open_rehearsal(services, chain, target="head", asked=Asked(), caller=caller, params={})
        try:
            for wanted in plan.wanted:
                back_up_live(services, plan, wanted)
            measured = try_out(services, backstage, chain, plan, folder, attempt=1)
            write_report(services, backstage, plan, measured)
            ended, _ = end_rehearsal(services, plan.rehearsal)
        finally:
            drop_rehearsal(services, backstage, plan.rehearsal, plan.wanted, keep=False)
            services.ledger.close()  # type: ignore[attr-defined]
            for wanted in plan.wanted:
                services.stores(wanted.database).close()  # type: ignore[union-attr]
            shutil.rmtree(folder)
    if ended.verdict is not Verdict.GREEN:
        raise NotGreenError(ended)
    return dict(vars(ended.predicted["0001"]))


def backstage_of(where: Mapping[str, Any], slots: int) -> Backstage:
    """Return what a rehearsal needs of the outside, with as many processes as the real run's shards have."""
    uri = where["ledger_uri"]

    @contextmanager
    def crew(stage: Stage, folder: Path) -> Iterator[Crew]:
        ledger = make_conninfo(uri, dbname=stage.ledger_name)
        place = place_of(stage, folder, ledger=ledger, vault=(where["s3"], where["vault"], {}))
        with Processes(place, slots) as processes:
            yield processes

    return Backstage(
        live=frozenset(),
        make_ledger=lambda name: PostgresLedger(scratch.make_scratch(uri, name, conn_id=LEDGER)),
        drop_ledger=partial(_drop, uri),
        ledger_scratches=lambda: scratch.scratches(uri, conn_id=LEDGER),
        gauge=gauge,
        crew=crew,
        slots=slots,
        task_seconds=0.0,
    )


def _drop(uri: str, name: str) -> None:
    scratch.drop_scratch(uri, name, conn_id=LEDGER)
