"""(i) A backup of a table."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks import children, ours
from benchmarks.bench import Bench
from benchmarks.children import Job
from benchmarks.measuring import Comparison, Done, Part, of, rounds, speed_ratios
from benchmarks.references import dump

PIPE = "pg_dump piped to zstd"


def run(bench: Bench) -> Part:
    few, many = bench.sizes.growing[0], bench.sizes.rows
    competitors = {
        PIPE: partial(reference, bench, many),
        who(many): partial(lockstep, bench, many),
        who(few): partial(lockstep, bench, few),
    }
    measured = tuple(rounds(competitors, bench.rounds(bench.sizes.rounds), bench.seed, bench.say))
    bench.places.forget(few)
    pipe, mine = of(measured, PIPE), of(measured, who(many))
    return Part(
        name="backup",
        title="A backup",
        how=(
            f"The backup task of a revision that changes one table of {many:,} rows: a fingerprint of the table, then "
            "pg_dump's archive streamed to the S3 server (moto here), hashed on the way; against "
            f"`pg_dump | {' '.join(dump.ZSTD)}` to a file.",
            "Reading the backup back, which is a task of its own, is not in it. The archive alone is what both make; "
            "the fingerprint is what the pipe does not have.",
            f"Memory is the most that the task's process held, over {many:,} rows against {few:,}.",
        ),
        measured=measured,
        comparisons=(
            Comparison(
                title="the archive alone: speed against pg_dump piped to zstd",
                values=tuple(
                    theirs.seconds / one.facts["archive_seconds"]
                    for one, theirs in zip(mine, pipe, strict=True)
                ),
                unit="×",
                better="higher",
                bar=0.9,
            ),
            Comparison(
                title="the whole task, fingerprint included: speed against pg_dump piped to zstd",
                values=speed_ratios(measured, who(many), PIPE),
                unit="×",
                better="higher",
                bar=0.9,
            ),
            Comparison(
                title=f"most memory held, {many:,} rows against {few:,}",
                values=tuple(
                    one.facts["peak_bytes"] / other.facts["peak_bytes"]
                    for one, other in zip(mine, of(measured, who(few)), strict=True)
                ),
                unit="×",
                better="lower",
                bar=1.10,
            ),
        ),
    )


def who(rows: int) -> str:
    return f"Lockstep's backup task, {rows:,} rows"


def reference(bench: Bench, rows: int) -> Done:
    places = bench.places
    places.fresh_rows(rows)
    arguments = {
        "uri": places.rows_uri.replace(f":{places.servers.password}@", "@"),
        "password": places.servers.password,
        "pg_bin": str(places.servers.pg_bin),
        "target": str(places.root / "work" / places.name("dump")),
    }
    (places.root / "work").mkdir(exist_ok=True)
    answer = children.run(Job(function="benchmarks.references.dump:pg_dump_zstd", arguments=arguments))
    return Done(seconds=answer.seconds, records=rows, facts=answer.value)


def lockstep(bench: Bench, rows: int) -> Done:
    bench.places.fresh_rows(rows)
    with ours.opened(bench.places, "update_rows", settings=bench.settings) as one:
        answer = children.run(one.job("backed_up"))
    facts: dict[str, Any] = {
        "archive_seconds": answer.value["archive_seconds"],
        "bytes": answer.value["bytes"],
        "peak_bytes": answer.peak,
    }
    return Done(seconds=answer.seconds, records=rows, facts=facts)
