"""(l) Where the time goes: the competitors of the parts above once more, while somebody looks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

from benchmarks import answers, spending, uploads
from benchmarks.bench import Bench
from benchmarks.measuring import Done, Measured, Part
from benchmarks.parts import documents, objects, rows

#: Those of each part whose profile says why a ratio is what it is.
OF_ROWS = (
    rows.UPDATE,
    rows.OURS_UPDATE,
    rows.OURS_UPDATE_PLANNED,
    rows.COPY_LOOP,
    rows.OURS_TRANSFORM,
    rows.OURS_TRANSFORM_TWO,
    rows.ROW_BY_ROW,
)


def run(bench: Bench) -> Part:
    measured = tuple(_each(bench))
    return Part(
        name="profile",
        title="Where the time goes",
        how=(
            "Each competitor once more, with somebody looking twenty times a second: seconds of CPU of its own "
            "processes and of the server's, bytes that went to the write-ahead log and to the disk, and what the "
            "sessions of PostgreSQL were doing (more than one can be at it at a time). Looking costs a little, so "
            "nothing is compared here.",
            "A second of a competitor that is neither CPU nor a wait for the disk is one in which client and server "
            "wait for each other.",
        ),
        measured=measured,
        comparisons=(),
    )


def competitors(bench: Bench) -> dict[str, tuple[str, Callable[[], Done]]]:
    """Return what is looked at, with what its records are called."""
    of_rows = rows.competitors(bench)
    of_documents = answers.wanted(bench.sizes.documents)
    of_objects = uploads.wanted(bench.sizes.objects)
    return {
        **{who: ("rows", of_rows[who]) for who in OF_ROWS},
        documents.BULK_LOOP: ("documents", partial(documents.bulk_loop, bench, of_documents)),
        documents.ONE_BY_ONE: ("documents", partial(documents.one_by_one, bench)),
        documents.OURS: ("documents", partial(documents.lockstep, bench, of_documents)),
        objects.POOL: ("objects", partial(objects.pool, bench, of_objects, keep=False)),
        objects.POOL_KEEPING: ("objects", partial(objects.pool, bench, of_objects, keep=True)),
        objects.OURS: ("objects", partial(objects.lockstep, bench, of_objects)),
    }


def _each(bench: Bench) -> Iterator[Measured]:
    for who, (records, work) in competitors(bench).items():
        with spending.watched(bench.places) as spent:
            done = work()
        done = replace(done, facts={**done.facts, **spent.facts(), "records_are": records})
        bench.say(f"{who}: {done.seconds:.2f} s, client {spent.client_cpu:.1f} s of CPU, {spent.server_cpu}")
        yield Measured(who=who, round=1, seconds=done.seconds, records=done.records, facts=done.facts)
