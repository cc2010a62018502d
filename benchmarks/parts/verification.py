"""(h) What verification takes beside the upgrade."""

from __future__ import annotations

from functools import partial

from benchmarks import ours, people
from benchmarks.bench import Bench
from benchmarks.comparing import same
from benchmarks.measuring import Comparison, Done, Part, of, rounds
from benchmarks.whole import alone

VERBS = ("update_rows", "transform_rows")


def run(bench: Bench) -> Part:
    competitors = {verb: partial(lockstep, bench, verb) for verb in VERBS}
    measured = tuple(rounds(competitors, bench.rounds(bench.sizes.rounds_long), bench.seed, bench.say))
    return Part(
        name="verification",
        title="Verification",
        how=(
            f"A whole run over {bench.sizes.rows:,} rows with the engine alone, at default settings, shards as planned. "
            "The verification reads the table again: it counts rows, compares their keys with those of the backup, and "
            "checks what the revision declares (`ops.expect_none`). Its time is divided by that of the batches.",
        ),
        measured=measured,
        comparisons=tuple(
            Comparison(
                title=f"verification, of the time of {verb}",
                values=tuple(
                    100 * one.facts["verify_seconds"] / one.facts["shards_seconds"]
                    for one in of(measured, verb)
                ),
                unit="%",
                better="lower",
                bar=15,
            )
            for verb in VERBS
        ),
    )


def lockstep(bench: Bench, verb: str) -> Done:
    template = bench.places.fresh_rows(bench.sizes.rows)
    with ours.opened(bench.places, verb, settings=bench.settings) as one:
        seconds = alone(one, bench.default_shards)
    same(verb, template.wanted, people.content(bench.places.rows_uri))
    return Done(
        seconds=sum(seconds.values()),
        records=template.rows,
        facts={f"{name}_seconds": value for name, value in seconds.items()},
    )
