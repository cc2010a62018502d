"""(c) Documents changed by Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from benchmarks import answers, children, ours
from benchmarks.bench import Bench
from benchmarks.children import Job
from benchmarks.comparing import Content, same
from benchmarks.measuring import Comparison, Done, Part, rounds, speed_ratios

BULK_LOOP = "overlapped raw-read and bulk_write loop"
ONE_BY_ONE = "find and update_one"
OURS = "Lockstep transform_documents, one shard"


def run(bench: Bench) -> Part:
    wanted = answers.wanted(bench.sizes.documents)
    competitors: dict[str, Callable[[], Done]] = {
        BULK_LOOP: partial(bulk_loop, bench, wanted),
        ONE_BY_ONE: partial(one_by_one, bench),
        OURS: partial(lockstep, bench, wanted),
    }
    measured = tuple(rounds(competitors, bench.rounds(bench.sizes.rounds), bench.seed, bench.say))
    return Part(
        name="documents",
        title="Documents changed by Python",
        records="documents",
        how=(
            f"{bench.sizes.documents:,} documents of about 600 bytes that get a field: `ops.transform_documents`, which "
            "keeps what was there in its journal, against a hand-tuned loop that reads raw batches by `_id`, decodes "
            "them and writes them by unordered `bulk_write` in a thread, and that keeps nothing; and against `find` "
            f"with an `update_one` for each of {bench.sizes.documents_one_by_one:,} documents, speeds being compared.",
            "The server is nx-27017, which speaks MongoDB's protocol over SQLite files, not MongoDB: read ratios only. "
            "The journal goes to the embedded S3 server.",
            "Each measurement has a new collection and a fresh process; the documents are compared afterwards.",
        ),
        measured=measured,
        comparisons=(
            Comparison(
                title="documents a second against the bulk_write loop",
                values=speed_ratios(measured, OURS, BULK_LOOP),
                unit="×",
                better="higher",
                bar=0.95,
            ),
            Comparison(
                title="documents a second against find and update_one",
                values=speed_ratios(measured, OURS, ONE_BY_ONE),
                unit="×",
                better="higher",
                bar=5,
            ),
        ),
    )


@contextmanager
def filled(bench: Bench) -> Iterator[tuple[str, str]]:
    """Give the URI and the name of a database that holds the documents."""
    uri, dbname = bench.places.servers.mongo_uri, bench.places.name("bench")
    answers.fill(uri, dbname, bench.sizes.documents)
    try:
        yield uri, dbname
    finally:
        answers.drop(uri, dbname)


def reference(uri: str, dbname: str, function: str, **more: Any) -> float:
    arguments = {"uri": uri, "dbname": dbname, "name": answers.NAME, **more}
    return children.run(
        Job(function=f"benchmarks.references.documents:{function}", arguments=arguments)
    ).seconds


def bulk_loop(bench: Bench, wanted: Content) -> Done:
    with filled(bench) as (uri, dbname):
        seconds = reference(uri, dbname, "bulk_loop")
        same(BULK_LOOP, wanted, answers.content(uri, dbname))
    return Done(seconds=seconds, records=bench.sizes.documents)


def one_by_one(bench: Bench) -> Done:
    count = bench.sizes.documents_one_by_one
    with filled(bench) as (uri, dbname):
        seconds = reference(uri, dbname, "one_by_one", documents=count)
        same(ONE_BY_ONE, answers.wanted(count), answers.content(uri, dbname, first=count))
    return Done(seconds=seconds, records=count)


def lockstep(bench: Bench, wanted: Content) -> Done:
    with filled(bench) as (uri, dbname):
        with ours.opened(
            bench.places, "transform_documents", mongo_db=dbname, settings=bench.settings
        ) as one:
            seconds, shards = ours.batches_only(one, 1)
        same(OURS, wanted, answers.content(uri, dbname))
    facts = {"batches": ours.total(shards, "batches"), "peak_bytes": shards[0].peak}
    return Done(seconds=seconds, records=bench.sizes.documents, facts=facts)
