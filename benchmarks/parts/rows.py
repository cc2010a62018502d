"""The parts about one table of rows, which share their references: (a) update, (b) transform, (j) rewrite."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from benchmarks import children, ours, people
from benchmarks.bench import Bench
from benchmarks.children import Job
from benchmarks.comparing import same
from benchmarks.measuring import (
    Comparison,
    Done,
    Measured,
    Part,
    fact_ratios,
    rounds,
    speed_ratios,
    time_ratios,
)
from benchmarks.people import Template

UPDATE = "one UPDATE"
KEYSET = "keyset loop, 10,000 rows"
OURS_UPDATE = "Lockstep update_rows, one shard"
OURS_UPDATE_PLANNED = "Lockstep update_rows, shards as planned"
COPY_LOOP = "overlapped COPY loop"
ROW_BY_ROW = "row by row, one commit each"
OURS_TRANSFORM = "Lockstep transform_rows, one shard"
OURS_TRANSFORM_TWO = "Lockstep transform_rows, two shards"
OURS_REWRITE = "Lockstep rewrite_table"

#: part → who takes part in it
COMPETITORS: Mapping[str, tuple[str, ...]] = {
    "backfill": (UPDATE, KEYSET, OURS_UPDATE, OURS_UPDATE_PLANNED),
    "transform": (UPDATE, COPY_LOOP, ROW_BY_ROW, OURS_TRANSFORM, OURS_TRANSFORM_TWO),
    "rewrite": (UPDATE, OURS_REWRITE),
}

FRESH = (
    "Each measurement has a fresh copy of the table (copied file by file, with its index, statistics and visibility "
    "map, and a checkpoint), and a fresh process. Modules are imported before the clock runs; connecting is in the "
    "time. The content of the table is compared with what it should be after each measurement."
)


def run(bench: Bench, wanted: Sequence[str]) -> list[Part]:
    """Measure those of the three parts that are wanted, with one set of references."""
    chosen = {who for part in wanted for who in COMPETITORS[part]}
    every = competitors(bench)
    measured = list(
        rounds(
            {who: work for who, work in every.items() if who in chosen},
            bench.rounds(bench.sizes.rounds),
            bench.seed,
            bench.say,
        )
    )
    makers = {"backfill": _backfill, "transform": _transform, "rewrite": _rewrite}
    return [makers[part](bench, _only(measured, COMPETITORS[part])) for part in wanted]


def competitors(bench: Bench) -> dict[str, Callable[[], Done]]:
    shards = bench.default_shards
    return {
        UPDATE: partial(reference, bench, "update:one_update"),
        KEYSET: partial(reference, bench, "update:keyset_loop"),
        COPY_LOOP: partial(reference, bench, "transform:copy_loop"),
        ROW_BY_ROW: partial(row_by_row, bench),
        OURS_UPDATE: partial(lockstep, bench, "update_rows", 1),
        OURS_UPDATE_PLANNED: partial(lockstep, bench, "update_rows", shards),
        OURS_TRANSFORM: partial(lockstep, bench, "transform_rows", 1),
        OURS_TRANSFORM_TWO: partial(
            lockstep, bench, "transform_rows", 2, rows_per_shard=max(1, bench.sizes.rows // 2)
        ),
        OURS_REWRITE: partial(lockstep, bench, "rewrite_table", 1),
    }


def reference(bench: Bench, function: str) -> Done:
    """Let a reference do all rows."""
    template = bench.places.fresh_rows(bench.sizes.rows)
    answer = children.run(
        Job(function=f"benchmarks.references.{function}", arguments={"uri": bench.places.rows_uri})
    )
    return Done(seconds=answer.seconds, records=template.rows, facts=compared(bench, function, template))


def row_by_row(bench: Bench) -> Done:
    """Let the script that commits each row do some of them."""
    bench.places.fresh_rows(bench.sizes.rows)
    uri, rows = bench.places.rows_uri, bench.sizes.rows_one_by_one
    wanted = people.wanted_of_first(uri, rows)
    answer = children.run(
        Job(function="benchmarks.references.transform:row_by_row", arguments={"uri": uri, "rows": rows})
    )
    same(ROW_BY_ROW, wanted, people.content(uri, first=rows))
    return Done(seconds=answer.seconds, records=rows)


def lockstep(bench: Bench, revision: str, shards: int, **settings: Any) -> Done:
    """Let Lockstep do all rows."""
    template = bench.places.fresh_rows(bench.sizes.rows)
    with ours.opened(bench.places, revision, settings={**bench.settings, **settings}) as one:
        seconds, answers = ours.batches_only(one, shards)
    facts = {
        **compared(bench, revision, template),
        "shards": len(answers),
        "batches": ours.total(answers, "batches"),
        "peak_bytes": max(answer.peak for answer in answers),
    }
    return Done(seconds=seconds, records=template.rows, facts=facts)


def compared(bench: Bench, who: str, template: Template) -> dict[str, Any]:
    """Return how large the table is; raise where it does not hold what it should."""
    uri = bench.places.rows_uri
    size = people.size(uri)
    same(who, template.wanted, people.content(uri))
    return {"table_bytes": size, "table_bytes_before": template.size}


def _only(measured: Sequence[Measured], who: Sequence[str]) -> tuple[Measured, ...]:
    return tuple(one for one in measured if one.who in who)


def _backfill(bench: Bench, measured: tuple[Measured, ...]) -> Part:
    return Part(
        name="backfill",
        title="A column filled by SQL",
        how=(
            f"{bench.sizes.rows:,} rows (a text key in the order of insertion, five texts, a jsonb column, a time), a "
            "new nullable text column to fill: `ops.update_rows` with `reverse`, against one `UPDATE` statement, and "
            "against a hand-tuned loop over the key in batches of 10,000 rows, a transaction each.",
            FRESH,
            "Vacuum pacing is on, as it is by default; the references do not vacuum. Shards run at the same time, in "
            "processes of their own, as Airflow's LocalExecutor runs them.",
        ),
        measured=measured,
        comparisons=(
            Comparison(
                title="time against one UPDATE, one shard",
                values=time_ratios(measured, OURS_UPDATE, UPDATE),
                unit="×",
                better="lower",
                bar=1.10,
            ),
            Comparison(
                title="time against one UPDATE, shards as planned",
                values=time_ratios(measured, OURS_UPDATE_PLANNED, UPDATE),
                unit="×",
                better="lower",
                bar=0.75,
            ),
            Comparison(
                title="table afterwards against before, one shard",
                values=fact_ratios(measured, OURS_UPDATE, "table_bytes", "table_bytes_before"),
                unit="×",
                better="lower",
                bar=1.25,
            ),
            Comparison(
                title="table afterwards against before, shards as planned",
                values=fact_ratios(measured, OURS_UPDATE_PLANNED, "table_bytes", "table_bytes_before"),
                unit="×",
                better="lower",
                bar=1.25,
            ),
            Comparison(
                title="time against the keyset loop, one shard",
                values=time_ratios(measured, OURS_UPDATE, KEYSET),
                unit="×",
                better="lower",
            ),
            Comparison(
                title="table afterwards against before, one UPDATE",
                values=fact_ratios(measured, UPDATE, "table_bytes", "table_bytes_before"),
                unit="×",
                better="lower",
            ),
        ),
    )


def _transform(bench: Bench, measured: tuple[Measured, ...]) -> Part:
    return Part(
        name="transform",
        title="A column filled by Python",
        how=(
            f"The same {bench.sizes.rows:,} rows, the same column, by a Python function: `ops.transform_rows` with "
            "`columns` and `reverse`, against one `UPDATE` statement that does the same in SQL; against a hand-tuned "
            "loop that reads the needed columns by key, copies results into a temporary table and writes them back "
            "by one `UPDATE … FROM` a batch, in a thread, while the next batch is read; and against the script that "
            "reads whole rows and commits each.",
            f"That script does {bench.sizes.rows_one_by_one:,} rows of the same table; speeds are compared.",
            FRESH,
        ),
        measured=measured,
        comparisons=(
            Comparison(
                title="rows a second against one UPDATE, one shard",
                values=speed_ratios(measured, OURS_TRANSFORM, UPDATE),
                unit="×",
                better="higher",
                bar=0.75,
            ),
            Comparison(
                title="rows a second against the COPY loop, one shard",
                values=speed_ratios(measured, OURS_TRANSFORM, COPY_LOOP),
                unit="×",
                better="higher",
                bar=0.95,
            ),
            Comparison(
                title="rows a second against one UPDATE, two shards",
                values=speed_ratios(measured, OURS_TRANSFORM_TWO, UPDATE),
                unit="×",
                better="higher",
                bar=1.1,
            ),
            Comparison(
                title="rows a second against row by row, one shard",
                values=speed_ratios(measured, OURS_TRANSFORM, ROW_BY_ROW),
                unit="×",
                better="higher",
                bar=50,
            ),
        ),
    )


def _rewrite(bench: Bench, measured: tuple[Measured, ...]) -> Part:
    return Part(
        name="rewrite",
        title="A table written anew",
        how=(
            f"The same {bench.sizes.rows:,} rows and column by `ops.rewrite_table`, which fills a new table, builds its "
            "index and swaps it in, while writers wait, against one `UPDATE` statement.",
            FRESH,
        ),
        measured=measured,
        comparisons=(
            Comparison(
                title="time against one UPDATE",
                values=time_ratios(measured, OURS_REWRITE, UPDATE),
                unit="×",
                better="lower",
                bar=0.65,
            ),
        ),
    )
