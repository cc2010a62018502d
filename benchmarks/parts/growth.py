"""(e) How time and memory grow with the table."""

from __future__ import annotations

from benchmarks import ours, people
from benchmarks.bench import Bench
from benchmarks.comparing import same
from benchmarks.measuring import Comparison, Done, Measured, Part, of, rounds

REVISIONS = {"update_rows": "update_rows", "transform_rows": "transform_rows"}


def run(bench: Bench) -> Part:
    sizes = bench.sizes.growing
    measured: list[Measured] = []
    for place, rows in enumerate(sizes):
        # The largest takes minutes, and is averaged over more batches than any other.
        count = 1 if place == len(sizes) - 1 else bench.rounds(bench.sizes.rounds)
        competitors = {
            who(verb, rows): lambda verb=verb, rows=rows: lockstep(bench, verb, rows) for verb in REVISIONS
        }
        measured += rounds(competitors, count, bench.seed + place, bench.say)
        if rows != bench.sizes.rows:
            bench.places.forget(rows)
    return Part(
        name="growth",
        title="Growth",
        how=(
            f"`ops.update_rows` and `ops.transform_rows` in one shard, over tables of {_listed(sizes)} rows: seconds per "
            "million rows, and the most memory that the process held (its own high-water mark, reset before the work; "
            "what it held before it began is subtracted where it says so).",
            "The table of the largest size is done once, the others several times; each time it is a fresh copy, in a "
            "fresh process, and its content is compared afterwards.",
        ),
        measured=tuple(measured),
        comparisons=tuple(
            comparison for verb in REVISIONS for comparison in _compared(measured, verb, sizes)
        ),
    )


def who(verb: str, rows: int) -> str:
    return f"{verb}, {rows:,} rows"


def lockstep(bench: Bench, verb: str, rows: int) -> Done:
    template = bench.places.fresh_rows(rows)
    with ours.opened(bench.places, REVISIONS[verb], settings=bench.settings) as one:
        seconds, shards = ours.batches_only(one, 1)
    same(who(verb, rows), template.wanted, people.content(bench.places.rows_uri))
    facts = {
        "per_million": seconds / rows * 1_000_000,
        "peak_bytes": shards[0].peak,
        "own_bytes": shards[0].peak - shards[0].before,
        "batches": ours.total(shards, "batches"),
    }
    return Done(seconds=seconds, records=rows, facts=facts)


def _compared(measured: list[Measured], verb: str, sizes: tuple[int, ...]) -> tuple[Comparison, ...]:
    small, middle, large = sizes[0], sizes[-2], sizes[-1]
    return (
        Comparison(
            title=f"{verb}: time per million rows, {large:,} rows against {middle:,}",
            values=_ratios(measured, verb, large, middle, "per_million"),
            unit="×",
            better="lower",
            bar=1.15,
        ),
        Comparison(
            title=f"{verb}: most memory held, {large:,} rows against {small:,}",
            values=_ratios(measured, verb, large, small, "peak_bytes"),
            unit="×",
            better="lower",
            bar=1.10,
        ),
    )


def _ratios(measured: list[Measured], verb: str, large: int, small: int, fact: str) -> tuple[float, ...]:
    """Return what the large ones came to, against each of the small ones."""
    return tuple(
        float(one.facts[fact]) / float(other.facts[fact])
        for one in of(measured, who(verb, large))
        for other in of(measured, who(verb, small))
    )


def _listed(sizes: tuple[int, ...]) -> str:
    texts = [f"{size:,}" for size in sizes]
    return f"{', '.join(texts[:-1])} and {texts[-1]}"
