"""(f) What the ledger, the lease, the checkpoint and the signals take of a run."""

from __future__ import annotations

from functools import partial
from typing import Any

from benchmarks import ours, people
from benchmarks.bench import Bench
from benchmarks.comparing import same
from benchmarks.measuring import Comparison, Done, Measured, Part, of, rounds, time_ratios

VERBS = ("update_rows", "transform_rows")
#: What is promised to be cheap, and what is shown beside it.
PROMISED = ("ledger", "lease", "checkpoint")
SHOWN = ("signals",)


def run(bench: Bench) -> Part:
    competitors = {}
    for verb in VERBS:
        competitors[counted(verb)] = partial(lockstep, bench, verb, "counted_shard")
        competitors[plain(verb)] = partial(lockstep, bench, verb, "shard")
        competitors[without(verb)] = partial(lockstep, bench, verb, "shard_without_checkpoints")
    measured = list(rounds(competitors, bench.rounds(bench.sizes.rounds_long), bench.seed, bench.say))
    return Part(
        name="bookkeeping",
        title="What bookkeeping takes",
        how=(
            f"`ops.update_rows` and `ops.transform_rows` over {rows_of(bench):,} rows in one shard, at default "
            "settings. The time inside every call to the ledger, the lease, the checkpoint and the signals is measured "
            "by wrapping them, and divided by the time of the shard; what other threads do meanwhile is not in it.",
            "The same shard once more with neither checkpoint nor fence, which is no way to run it, shows what those "
            "cost the database as well.",
        ),
        measured=tuple(measured),
        comparisons=tuple(comparison for verb in VERBS for comparison in _compared(measured, verb)),
    )


def rows_of(bench: Bench) -> int:
    """Return the rows of a table that is large enough for a share: a million at full size."""
    return bench.sizes.growing[-2]


def counted(verb: str) -> str:
    return f"{verb}, calls measured"


def plain(verb: str) -> str:
    return f"{verb}, as it is"


def without(verb: str) -> str:
    return f"{verb}, without checkpoints"


def lockstep(bench: Bench, verb: str, function: str) -> Done:
    template = bench.places.fresh_rows(rows_of(bench))
    with ours.opened(bench.places, verb, settings=bench.settings) as one:
        one.pass_backup()
        labels = one.plan(1)
        answer = one.shards(len(labels), function)[0]
    same(f"{verb} ({function})", template.wanted, people.content(bench.places.rows_uri))
    facts: dict[str, Any] = {"batches": answer.value["batches"], **answer.value.get("spent", {})}
    return Done(seconds=answer.seconds, records=template.rows, facts=facts)


def _compared(measured: list[Measured], verb: str) -> tuple[Comparison, ...]:
    return (
        Comparison(
            title=f"{verb}: {', '.join(PROMISED[:-1])} and {PROMISED[-1]} together, of the shard's time",
            values=_share(measured, verb, PROMISED),
            unit="%",
            better="lower",
            bar=3,
        ),
        Comparison(
            title=f"{verb}: {' and '.join(SHOWN)}, of the shard's time",
            values=_share(measured, verb, SHOWN),
            unit="%",
            better="lower",
        ),
        Comparison(
            title=f"{verb}: time with checkpoints against without",
            values=time_ratios(measured, plain(verb), without(verb)),
            unit="×",
            better="lower",
        ),
    )


def _share(measured: list[Measured], verb: str, kinds: tuple[str, ...]) -> tuple[float, ...]:
    return tuple(
        100 * sum(one.facts[f"{kind}_seconds"] for kind in kinds) / one.seconds
        for one in of(measured, counted(verb))
    )
