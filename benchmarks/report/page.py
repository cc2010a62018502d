"""docs/performance.md, made from the results so that no number is typed by hand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from benchmarks.report import profile, why
from benchmarks.report.words import goal, seconds, size, verdict, with_range

#: Parts in the order in which they are told, and what each is called before it was measured.
ORDER: Mapping[str, str] = {
    "backfill": "A column filled by SQL",
    "transform": "A column filled by Python",
    "documents": "Documents changed by Python",
    "objects": "Objects changed by Python",
    "growth": "Growth",
    "bookkeeping": "What bookkeeping takes",
    "scheduling": "What Airflow adds",
    "verification": "Verification",
    "backup": "A backup",
    "rehearsal": "What a rehearsal predicts",
    "rewrite": "A table written anew",
    "profile": "Where the time goes",
}

HEAD = """\
<!-- Made by `make bench` from benchmarks/results/latest.json. Change benchmarks/report/page.py, not this file. -->

# Performance

`make bench` measures Lockstep against references in the same run, on this machine, with servers of its own,
and writes this page. `SIZE=small` is a quick look that leaves this page alone, `ONLY=backfill,documents`
measures some parts and leaves the others, `ROUNDS=5` asks for more rounds.

How to read it:

* A number is a ratio of two measurements of the same round, and what is given is the median over the rounds
  with the smallest and the largest. Seconds depend on the machine; ratios do so much less.
* References and Lockstep take turns, in an order that is shuffled for each round from a seed. Nobody inherits
  another's dead rows: each starts from a fresh copy of the data, in a fresh process.
* The references are in [benchmarks/references](../benchmarks/references), written as someone who knows the
  store well would write them. They do less than Lockstep: no checkpoint, no lease, no journal, no look at the
  row again before it is written. What they leave behind is compared with what Lockstep leaves; a difference is
  an error, not a number.
* PostgreSQL is the embedded one as a user has it: durable, `fsync` and `synchronous_commit` on, unless the line
  under a part says otherwise. The raw seconds of every round are in
  [benchmarks/results/latest.json](../benchmarks/results/latest.json).
* A goal is what the project promises itself. A goal that is missed is shown as missed.
"""

NOTHING = "Not measured yet: `make bench` fills this in.\n"


def page(results: Mapping[str, Any]) -> str:
    """Return the page's text."""
    parts: Mapping[str, Any] = results["parts"]
    blocks = [HEAD]
    if parts:
        blocks.append(_summary(parts))
    for name, title in ORDER.items():
        blocks.append("\n".join(_part(name, parts[name])) if name in parts else f"## {title}\n\n{NOTHING}")
    return "\n".join(blocks)


def _summary(parts: Mapping[str, Any]) -> str:
    lines = ["## Goals", "", "| What | Median (range) | Goal | |", "|---|---|---|---|"]
    for name in ORDER:
        for one in parts.get(name, {}).get("comparisons", ()):
            if one["bar"] is not None:
                title = parts[name]["title"]
                lines.append(
                    f"| [{title}](#{_anchor(title)}): {one['title']} | {with_range(one)} | {goal(one)} | {verdict(one)} |"
                )
    return "\n".join([*lines, ""])


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _part(name: str, part: Mapping[str, Any]) -> Iterator[str]:
    yield f"## {part['title']}"
    yield ""
    for paragraph in part["how"]:
        yield paragraph
        yield ""
    if name == "profile":
        yield from profile.table(part)
        yield ""
        yield _under(part["context"])
        yield ""
        return
    yield from why.lines(name)
    yield "| What | Median (range) | Goal | |"
    yield "|---|---|---|---|"
    for one in part["comparisons"]:
        yield f"| {one['title']} | {with_range(one)} | {goal(one)} | {verdict(one)} |"
    yield ""
    yield f"![{part['title']}](images/bench-{name}.png)"
    yield ""
    yield from _raw(part)
    yield ""
    yield _under(part["context"])
    yield ""


def _raw(part: Mapping[str, Any]) -> Iterator[str]:
    """Give the seconds that the ratios were made from."""
    who: dict[str, list[Mapping[str, Any]]] = {}
    for one in part["measured"]:
        who.setdefault(one["who"], []).append(one)
    yield f"| Measured | Rounds | Seconds, median (range) | {part['records'].capitalize()} a second | Most memory held |"
    yield "|---|---|---|---|---|"
    for name, found in sorted(who.items()):
        took = [one["seconds"] for one in found]
        held = [one["facts"]["peak_bytes"] for one in found if "peak_bytes" in one["facts"]]
        speed = found[0]["records"] / median(took)
        yield (
            f"| {name} | {len(took)} | {_range(took)} | {speed:,.0f} | {size(median(held)) if held else '–'} |"
        )


def _range(values: Sequence[float]) -> str:
    middle = seconds(median(values))
    return middle if len(values) == 1 else f"{middle} ({seconds(min(values))} – {seconds(max(values))})"


def _under(context: Mapping[str, Any]) -> str:
    machine, versions, server = context["machine"], context["versions"], context["postgres"]
    durable = ", ".join(
        f"{name} {server[name]}" for name in ("fsync", "synchronous_commit", "full_page_writes")
    )
    return (
        f"<sub>{context['date']}, commit {context['commit']}, size {context['size']}, seed {context['seed']}. "
        f"{machine['cores']} cores ({machine['processor']}), {machine['memory_gb']} GB, {machine['system']}, "
        f"load {machine['load_before']} before. PostgreSQL {server['server_version']} ({durable}, shared_buffers "
        f"{server['shared_buffers']}), Python {versions['python']}, psycopg {versions['psycopg']}, pymongo "
        f"{versions['pymongo']}, boto3 {versions['boto3']}, Airflow {versions['apache-airflow']}.</sub>"
    )
