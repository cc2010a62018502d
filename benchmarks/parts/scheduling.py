"""(g) What Airflow's scheduler adds to the engine."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any

import psycopg

from benchmarks import ours, people, project
from benchmarks.bench import Bench
from benchmarks.children import ROOT
from benchmarks.comparing import same
from benchmarks.measuring import Comparison, Measured, Part, of
from benchmarks.whole import alone
from campus.tables import YAPPER
from lockstep.domain.chain import load_chain
from lockstep.embedded.airflow import Airflow, airflow_running
from lockstep.embedded.airflow_api import DagRun, TaskInstance

REVISION = "update_rows"
#: seconds for one run
LIMIT = 900.0
#: runs over next to nothing; the first after a start is always the slowest
FEW_RUNS = 3


class RunFailedError(RuntimeError):
    """A run through Airflow did not end well."""

    def __init__(self, run: DagRun) -> None:
        super().__init__(f"{run.dag_id} / {run.run_id} ended as {run.state}")


def run(bench: Bench) -> Part:
    """Let the engine go before Airflow is started and after it has stopped, and Airflow in between."""
    few, many = bench.sizes.rows_few, bench.sizes.rows
    count = bench.rounds(bench.sizes.rounds_long)
    before = (count + 1) // 2
    measured = [_alone(bench, few, number) for number in range(1, FEW_RUNS + 1)]
    measured += [_alone(bench, many, number) for number in range(1, before + 1)]
    measured += _through_airflow(bench, few, many, count)
    measured += [_alone(bench, many, number) for number in range(before + 1, count + 1)]
    bench.places.forget(few)
    fixed = median(one.seconds for one in of(measured, airflow_over(few))) - median(
        one.seconds for one in of(measured, alone_over(few))
    )
    return Part(
        name="scheduling",
        title="What Airflow adds",
        how=(
            f"One revision, `ops.update_rows` over {many:,} rows, with backup, proof, shards as planned, verification "
            "and record: through Airflow (its scheduler, LocalExecutor, the settings that the demo runs with), from the "
            "DAG run's start to its end, against the engine alone, which does the same in the same order with as many "
            "processes for the shards.",
            f"The fixed part is the same over {few:,} rows, where next to nothing is left to do; what is beyond it is "
            "the rest of the difference, of the engine's time.",
            "Airflow is not running while the engine is measured alone.",
        ),
        measured=tuple(measured),
        comparisons=(
            Comparison(
                title=f"fixed part: through Airflow less the engine alone, {few:,} rows",
                values=tuple(
                    one.seconds - other.seconds
                    for one, other in zip(
                        of(measured, airflow_over(few)), of(measured, alone_over(few)), strict=True
                    )
                ),
                unit="s",
                better="lower",
                bar=20,
            ),
            Comparison(
                title=f"beyond the fixed part, {many:,} rows, of the engine's time",
                values=tuple(
                    100 * (one.seconds - fixed - other.seconds) / other.seconds
                    for one, other in zip(
                        of(measured, airflow_over(many)), of(measured, alone_over(many)), strict=True
                    )
                ),
                unit="%",
                better="lower",
                bar=5,
            ),
        ),
    )


def alone_over(rows: int) -> str:
    return f"the engine alone, {rows:,} rows"


def airflow_over(rows: int) -> str:
    return f"through Airflow, {rows:,} rows"


def _alone(bench: Bench, rows: int, number: int) -> Measured:
    template = bench.places.fresh_rows(rows)
    with ours.opened(bench.places, REVISION, settings=bench.settings) as one:
        seconds = alone(one, bench.default_shards)
    same(alone_over(rows), template.wanted, people.content(bench.places.rows_uri))
    return _measured(
        bench,
        alone_over(rows),
        number,
        sum(seconds.values()),
        rows,
        {f"{name}_seconds": value for name, value in seconds.items()},
    )


def _through_airflow(bench: Bench, few: int, many: int, count: int) -> list[Measured]:
    """Run one revision after the other, each over a fresh table."""
    places = bench.places
    sizes = [few] * FEW_RUNS + [many] * count
    folder = project.for_airflow(places.root / "airflow-project", [REVISION] * len(sizes))
    revisions = load_chain(folder / "migrations").revisions
    places.fresh_ledger()
    with psycopg.connect(places.servers.postgres_uri("campus_yapper"), autocommit=True) as conn:
        conn.execute(YAPPER)
    measured: list[Measured] = []
    with airflow_running(
        places.servers,
        dags=folder / "dags",
        plugins=ROOT / "plugins",
        migrations=folder / "migrations",
        needed=[revision.dag_id for revision in revisions],
    ) as airflow:
        for place, (revision, rows) in enumerate(zip(revisions, sizes, strict=True)):
            template = places.fresh_rows(rows)
            seconds, facts = _one_run(airflow, revision.dag_id)
            same(airflow_over(rows), template.wanted, people.content(places.rows_uri))
            number = place + 1 if place < FEW_RUNS else place + 1 - FEW_RUNS
            measured.append(_measured(bench, airflow_over(rows), number, seconds, rows, facts))
    return measured


def _one_run(airflow: Airflow, dag_id: str) -> tuple[float, dict[str, Any]]:
    api = airflow.api
    api.trigger(dag_id, "bench")
    done = api.wait(dag_id, "bench", seconds=LIMIT)
    if done.state != "success" or done.started is None or done.ended is None:
        raise RunFailedError(done)
    tasks = [task for task in api.tasks(dag_id, "bench") if task.state == "success"]
    facts = {
        "tasks": len(tasks),
        "shards": sum(task.map_index >= 0 for task in tasks),
        "tried_again": sum(task.try_number > 1 for task in tasks),
        "task_seconds": {f"{task.task_id} {task.label}".strip(): _seconds(task) for task in tasks},
    }
    return (done.ended - done.started).total_seconds(), facts


def _seconds(task: TaskInstance) -> float:
    return (task.ended - task.started).total_seconds() if task.started and task.ended else 0.0


def _measured(
    bench: Bench, who: str, number: int, seconds: float, rows: int, facts: Mapping[str, Any]
) -> Measured:
    bench.say(f"round {number}: {who}: {seconds:.2f} s")
    return Measured(who=who, round=number, seconds=seconds, records=rows, facts=facts)
