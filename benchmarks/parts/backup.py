"""(i) A backup of a table, and its restore."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from benchmarks import children, ours, people
from benchmarks.bench import Bench
from benchmarks.children import Answer, Job
from benchmarks.measuring import Comparison, Done, Measured, Part, of, rounds, speed_ratios
from benchmarks.references import dump

PIPE = "pg_dump piped to zstd"
ARCHIVE = "Lockstep's archive alone"
FILE = "pg_restore of a file"
#: megabytes that a task may hold, whatever the size of the database
MOST = 300
_MB = 1_000_000


def run(bench: Bench) -> Part:
    many, large = bench.sizes.rows, bench.sizes.rows_of_database
    competitors = {
        PIPE: partial(reference, bench, many),
        ARCHIVE: partial(archive, bench, many),
        who(many): partial(lockstep, bench, many),
        FILE: partial(reference_restore, bench, many),
        restore(many): partial(lockstep_restore, bench, many),
    }
    measured = tuple(rounds(competitors, bench.rounds(bench.sizes.rounds), bench.seed, bench.say))
    backed_up, restored = whole_database(bench, large)
    measured += (backed_up, restored)
    gigabytes = f"{backed_up.facts['database_bytes'] / 1e9:.1f} GB"
    return Part(
        name="backup",
        title="A backup",
        how=(
            f"The backup task of a revision that changes one table of {many:,} rows: pg_dump's archive streamed to the "
            "S3 server (moto here), hashed on the way, and a fingerprint of the table taken from the same snapshot "
            f"meanwhile; against `pg_dump | {' '.join(dump.ZSTD)}` to a file.",
            "Reading the backup back, which is a task of its own, is not in it. The archive alone is what both make; "
            "the fingerprint is what the pipe does not have.",
            f"Memory is the most that the task's process held, over {large:,} rows against {many:,}.",
            "A restore is the load of the proof: the archive streamed from the S3 server through pg_restore into an "
            "empty scratch database, hashed on the way, statistics gathered at the end; against pg_restore of the same "
            "archive from a file, which gathers none.",
            f"A database of {gigabytes} is backed up and restored once, to see what the tasks hold of it; pg_dump and "
            "pg_restore are processes of their own, and told apart.",
        ),
        measured=measured,
        comparisons=(
            Comparison(
                title="the archive alone: speed against pg_dump piped to zstd",
                values=speed_ratios(measured, ARCHIVE, PIPE),
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
                title="a restore: speed against pg_restore of a file",
                values=speed_ratios(measured, restore(many), FILE),
                unit="×",
                better="higher",
                bar=0.8,
            ),
            _flat(measured, who(large), who(many), "the backup"),
            _flat(measured, restore(large), restore(many), "the restore"),
            _held(f"most memory held by the backup of {gigabytes}", backed_up.facts["peak_bytes"], MOST),
            _held(f"most memory held by the restore of {gigabytes}", restored.facts["peak_bytes"], MOST),
            *(
                _held(f"most memory held by {name} meanwhile", held, None)
                for one in (backed_up, restored)
                for name, held in sorted(one.facts["programs"].items())
            ),
        ),
    )


def _flat(measured: Sequence[Measured], large: str, small: str, what: str) -> Comparison:
    return Comparison(
        title=f"most memory held by {what}, the largest database against the other",
        values=tuple(
            one.facts["peak_bytes"] / other.facts["peak_bytes"]
            for one in of(measured, large)
            for other in of(measured, small)
        ),
        unit="×",
        better="lower",
        bar=1.10,
    )


def _held(title: str, held: int, bar: float | None) -> Comparison:
    return Comparison(title=title, values=(held / _MB,), unit="MB", better="lower", bar=bar)


def who(rows: int) -> str:
    return f"Lockstep's backup task, {rows:,} rows"


def restore(rows: int) -> str:
    return f"Lockstep's restore into a scratch database, {rows:,} rows"


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


def archive(bench: Bench, rows: int) -> Done:
    bench.places.fresh_rows(rows)
    with ours.opened(bench.places, "update_rows", settings=bench.settings) as one:
        answer = children.run(_job(one, "archived"))
    facts = {"bytes": answer.value["bytes"], "peak_bytes": answer.peak}
    return Done(seconds=answer.value["seconds"], records=rows, facts=facts)


def lockstep(bench: Bench, rows: int) -> Done:
    bench.places.fresh_rows(rows)
    with ours.opened(bench.places, "update_rows", settings=bench.settings) as one:
        answer = children.run(one.job("backed_up"))
    facts = {"bytes": answer.value["bytes"], "peak_bytes": answer.peak}
    return Done(seconds=answer.seconds, records=rows, facts=facts)


def reference_restore(bench: Bench, rows: int) -> Done:
    places = bench.places
    places.fresh_rows(rows)
    folder = places.root / "work"
    folder.mkdir(exist_ok=True)
    given = {"password": places.servers.password, "pg_bin": str(places.servers.pg_bin)}
    source, target = str(folder / places.name("archive")), places.name("restored").replace("-", "_")
    dump.archive(_shown(bench, places.rows_uri), target=source, **given)
    people.create(places.admin, target)
    uri = _shown(bench, places.servers.postgres_uri(target))
    job = Job(
        function="benchmarks.references.dump:pg_restore_file",
        arguments={"uri": uri, "source": source, **given},
    )
    answer = children.run(job)
    people.drop(places.admin, target)
    Path(source).unlink()
    return Done(seconds=answer.value["seconds"], records=rows)


def _shown(bench: Bench, uri: str) -> str:
    """Return an address without the password, which goes by the environment."""
    return uri.replace(f":{bench.places.servers.password}@", "@")


def lockstep_restore(bench: Bench, rows: int) -> Done:
    bench.places.fresh_rows(rows)
    with ours.opened(bench.places, "update_rows", settings=bench.settings) as one:
        children.run(one.job("backed_up"))
        answer = children.run(_job(one, "restored"))
    return Done(
        seconds=answer.value["load_seconds"], records=rows, facts={"peak_bytes": answer.peak, **answer.value}
    )


def whole_database(bench: Bench, rows: int) -> tuple[Measured, Measured]:
    """Back up and restore the largest database once; return what each took and held."""
    bench.places.fresh_rows(rows)
    size = people.database_size(bench.places.rows_uri)
    with ours.opened(bench.places, "update_rows", settings=bench.settings) as one:
        backed_up = children.run(_job(one, "backed_up"))
        bench.say(f"backup of {size:,} bytes: {backed_up.seconds:.1f} s, {backed_up.peak:,} bytes held")
        restored = children.run(_job(one, "restored"))
        bench.say(f"restore: {restored.value['load_seconds']:.1f} s, {restored.peak:,} bytes held")
    bench.places.forget(rows)
    took = restored.value["load_seconds"]
    return (
        _measured(who(rows), backed_up, backed_up.seconds, rows, size),
        _measured(restore(rows), restored, took, rows, size),
    )


def _job(one: ours.Opened, function: str) -> Job:
    return replace(one.job(function), function=f"benchmarks.restoring:{function}")


def _measured(name: str, answer: Answer, seconds: float, rows: int, size: int) -> Measured:
    facts = {
        "peak_bytes": answer.peak,
        "programs": answer.value["programs"],
        "bytes": answer.value["bytes"],
        "database_bytes": size,
    }
    return Measured(who=name, round=1, seconds=seconds, records=rows, facts=facts)
