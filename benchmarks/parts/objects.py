"""(d) Objects changed by Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from benchmarks import children, ours, uploads
from benchmarks.bench import Bench
from benchmarks.children import Job
from benchmarks.comparing import Content, same
from benchmarks.measuring import Comparison, Done, Part, rounds, speed_ratios
from benchmarks.references import objects as references

POOL = "thread pool: get, change, put"
POOL_KEEPING = "thread pool that keeps what was there"
OURS = "Lockstep transform_objects, one shard"


def run(bench: Bench) -> Part:
    wanted = uploads.wanted(bench.sizes.objects)
    competitors: dict[str, Callable[[], Done]] = {
        POOL: partial(pool, bench, wanted, keep=False),
        POOL_KEEPING: partial(pool, bench, wanted, keep=True),
        OURS: partial(lockstep, bench, wanted),
    }
    measured = tuple(rounds(competitors, bench.rounds(bench.sizes.rounds), bench.seed, bench.say))
    return Part(
        name="objects",
        title="Objects changed by Python",
        records="objects",
        how=(
            f"{bench.sizes.objects:,} JSON objects of about eight kilobytes, each read, changed and written: "
            f"`ops.transform_objects`, against a pool of {references.THREADS} threads on one boto3 client that gets, "
            "changes and puts each object; and against the same pool where it puts a copy of what was there elsewhere "
            "first, since a way back needs that.",
            "The server is moto, which is one Python process: what counts there is the number of requests.",
            "Each measurement has a new bucket and a fresh process; the objects are compared afterwards.",
        ),
        measured=measured,
        comparisons=(
            Comparison(
                title="objects a second against the pool",
                values=speed_ratios(measured, OURS, POOL),
                unit="×",
                better="higher",
                bar=0.9,
            ),
            Comparison(
                title="objects a second against the pool that keeps what was there",
                values=speed_ratios(measured, OURS, POOL_KEEPING),
                unit="×",
                better="higher",
                bar=0.9,
            ),
        ),
    )


@contextmanager
def filled(bench: Bench) -> Iterator[str]:
    """Give a bucket that holds the objects."""
    with bench.places.bucket() as bucket:
        uploads.fill(bench.places.s3, bucket, bench.sizes.objects)
        yield bucket


def pool(bench: Bench, wanted: Content, *, keep: bool) -> Done:
    with filled(bench) as bucket:
        arguments = {"s3": bench.places.s3_kwargs, "bucket": bucket, "prefix": uploads.PREFIX, "keep": keep}
        answer = children.run(Job(function="benchmarks.references.objects:pool", arguments=arguments))
        same(POOL_KEEPING if keep else POOL, wanted, uploads.content(bench.places.s3, bucket))
    return Done(seconds=answer.seconds, records=bench.sizes.objects)


def lockstep(bench: Bench, wanted: Content) -> Done:
    with filled(bench) as bucket:
        with ours.opened(bench.places, "transform_objects", bucket=bucket, settings=bench.settings) as one:
            seconds, shards = ours.batches_only(one, 1)
        same(OURS, wanted, uploads.content(bench.places.s3, bucket))
    facts = {"batches": ours.total(shards, "batches"), "peak_bytes": shards[0].peak}
    return Done(seconds=seconds, records=bench.sizes.objects, facts=facts)
