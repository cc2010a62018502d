"""The report of a rehearsal as one HTML page that asks nobody for anything."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from lockstep.engine.rehearsing import plots
from lockstep.engine.rehearsing.plots import seconds

_STYLE = """
:root { color-scheme: light dark; --ink: #1d2530; --paper: #fff; --soft: #8883; --bar: #3b78b5; --mark: #b5473b;
  --good: #23784a; --bad: #b3261e; --none: #8a6d00; }
@media (prefers-color-scheme: dark) { :root { --ink: #e4e8ee; --paper: #14181e; --bar: #6ea8e0; --mark: #e08a80;
  --good: #6cc795; --bad: #f2a29c; --none: #e3c356; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--paper); max-width: 72rem;
  margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin-top: 2.5rem; } h3 { font-size: 1rem; margin-top: 1.5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .8rem .25rem 0; border-bottom: 1px solid var(--soft); }
th { font-weight: 600; } td { overflow-wrap: anywhere; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
code { font-family: ui-monospace, monospace; font-size: .88em; white-space: pre-wrap; }
.verdict { font-size: 1.2rem; font-weight: 700; border-left: .4rem solid; padding: .4rem .8rem; }
.green { color: var(--good); } .red { color: var(--bad); } .stopped { color: var(--none); }
svg { max-width: 100%; height: auto; font: 12px system-ui, sans-serif; } svg text { fill: var(--ink); }
svg .small { font-size: 10px; } svg .bar { fill: var(--bar); } svg .mark { stroke: var(--mark); stroke-dasharray: 3 3; }
svg .range { stroke: var(--bar); stroke-width: 3; } svg .dot { fill: var(--mark); }
details { margin: .6rem 0; } summary { cursor: pointer; }
"""
_VERDICTS = {
    "green": "Green: up, down and up again, and what came back is what was there",
    "red": "Red: this must not go live as it is",
    "stopped": "Stopped: it could not be carried through, and nothing is said of the revisions",
}


def page(report: Mapping[str, Any]) -> str:
    """Return the page; every value in it is escaped."""
    title = f"Rehearsal {report['rehearsal']} to {report['target']}"
    parts = [_verdict(report), _facts(report)]
    revisions = report.get("revisions", [])
    if revisions:
        parts += [_predicted(revisions), _times(revisions), _locks(report), _growth(revisions)]
        parts += [_revision(one) for one in revisions]
    if report.get("copies"):
        parts.append(_copies(report["copies"]))
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{''.join(parts)}</body></html>"
    )


def _verdict(report: Mapping[str, Any]) -> str:
    verdict = str(report["verdict"])
    why = f"<p>{escape(str(report['why']))}</p>" if report.get("why") else ""
    return f'<p class="verdict {escape(verdict)}">{escape(_VERDICTS.get(verdict, verdict))}</p>{why}'


def _facts(report: Mapping[str, Any]) -> str:
    rows = [
        ("Asked for by", f"{report['asked_by']} ({report['dag_run']})"),
        ("Began", report["started_at"]),
        ("Data", f"{report.get('source', '')}, {report.get('sample', 100):g} % of the records"),
        *((name.capitalize(), seconds(value)) for name, value in report.get("seconds", {}).items()),
        ("Not reached", ", ".join(report.get("not_reached", ()))),
    ]
    return _table((), [row for row in rows if row[1]])


def _predicted(revisions: Sequence[Mapping[str, Any]]) -> str:
    known = [(f"{one['id']} {one['description']}", one["predicted"]) for one in revisions if one["predicted"]]
    if not known:
        return ""
    total = {part: sum(value[part] for _, value in known) for part in ("low", "seconds", "high")}
    said = (
        f"<p>On the live data the revisions should take about <b>{seconds(total['seconds'])}</b> together, from "
        f"{seconds(total['low'])} to {seconds(total['high'])}; waiting for windows and signals is not in it.</p>"
    )
    rows = [(name, *(seconds(value[part]) for part in ("low", "seconds", "high"))) for name, value in known]
    return (
        f"<h2>Predicted for the live data</h2>{said}{plots.ranges(known)}"
        f"{_table(('revision', 'at least', 'likely', 'at most'), rows, numbers=(1, 2, 3))}"
    )


def _times(revisions: Sequence[Mapping[str, Any]]) -> str:
    values = [
        (f"{one['id']} · {operation['step']} {operation['title']}", float(operation["seconds"]))
        for one in revisions
        for operation in (one["upgrade"] or {}).get("operations", ())
    ]
    return f"<h2>Where the upgrade's time went</h2>{plots.bars(values)}" if values else ""


def _locks(report: Mapping[str, Any]) -> str:
    longest = report.get("longest_lock")
    if not longest:
        return "<h2>Locks</h2><p>No lock that keeps anybody out was seen; one held for less than 25 ms may not be.</p>"
    rows = [
        ("Lock", f"{longest['mode']} on {longest['relation']}: it keeps out {longest['keeps_out']}"),
        ("Held for", f"{seconds(longest['seconds'])} on the copy"),
        ("In revision", longest["revision"]),
        ("Taken by", longest["statement"]),
    ]
    return f"<h2>The longest lock</h2>{_table((), rows)}"


def _growth(revisions: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            one["id"],
            label.partition("_")[2],
            name,
            _size(name, after - before),
            "" if name == "wal" else _size(name, after),
        )
        for one in revisions
        for label, sizes in one["growth"].items()
        for name, (before, after) in sizes.items()
    ]
    note = "<p>Of the first upgrade, on the copy. WAL is what the whole server wrote meanwhile.</p>"
    return f"<h2>Growth</h2>{note}{_table(('revision', 'database', 'what', 'more', 'after'), rows, numbers=(3, 4))}"


def _revision(one: Mapping[str, Any]) -> str:
    parts = [f"<h2>{escape(one['id'])} · {escape(one['description'])}</h2>"]
    parts.append(
        f"<p><code>{escape(one['file'])}</code>, {escape(one['transaction'])}, {escape(one['storage'])}</p>"
    )
    for name in ("upgrade", "downgrade", "upgrade_again"):
        if one[name]:
            parts.append(_trial(name.replace("_", " "), one[name]))
    parts.append(_differences(one))
    if one["lint"]:
        rows = [(f["severity"], f["code"], f["where"], f["message"], f["fix"]) for f in one["lint"]]
        parts.append(f"<h3>Lint</h3>{_table(('severity', 'code', 'where', 'what', 'fix'), rows)}")
    return "".join(parts)


def _trial(name: str, trial: Mapping[str, Any]) -> str:
    parts = [f"<h3>{escape(name.capitalize())}: {escape(trial['status'])}, {seconds(trial['seconds'])}</h3>"]
    trouble = trial["trouble"]
    if trouble:
        at = f" (step {trouble['step']}: {trouble['operation']})" if trouble["operation"] else ""
        parts.append(f'<p class="red">{escape(trouble["where"] + at)}: {escape(trouble["error"])}</p>')
    rows = [
        (
            one["step"],
            one["title"],
            seconds(one["seconds"]),
            f"{one['read']:,}",
            f"{one['written']:,}",
            len(one["shards"]) or "",
        )
        for one in trial["operations"]
    ]
    parts.append(_table(("", "operation", "time", "read", "changed", "shards"), rows, numbers=(2, 3, 4, 5)))
    for one in trial["operations"]:
        parts.append(_operation(one))
    locks = [*trial["locks"], *(lock for one in trial["operations"] for lock in one["locks"])]
    if locks:
        shown = [
            (lock["mode"], lock["relation"], seconds(lock["seconds"]), lock["statement"])
            for lock in locks[:20]
        ]
        parts.append(_folded("Locks", _table(("mode", "relation", "held", "taken by"), shown, numbers=(2,))))
    tasks = [(task["name"], seconds(task["seconds"])) for task in trial["tasks"]]
    parts.append(_folded("Every task", _table(("task", "time"), tasks, numbers=(1,))))
    if trial["verification"]:
        said = "".join(f"<li>{escape(line)}</li>" for line in trial["verification"])
        parts.append(_folded("Every verification", f"<ul>{said}</ul>"))
    return "".join(parts)


def _operation(one: Mapping[str, Any]) -> str:
    inner = f"<p><code>{escape(one['describe'])}</code></p>"
    batches = one["batches"]
    if batches:
        inner += (
            f"<p>{batches['count']:,} batch(es): half took up to {seconds(batches['p50'])}, nine of ten up to "
            f"{seconds(batches['p90'])}, the longest {seconds(batches['longest'])}.</p>{plots.histogram(batches)}"
        )
    if one["samples"]:
        rows = [(s["resource"], s["key"], _record(s["before"]), _record(s["after"])) for s in one["samples"]]
        inner += _table(("resource", "record", "before", "after"), rows)
    return _folded(f"{one['step']} {one['title']}", inner) if batches or one["samples"] else ""


def _differences(one: Mapping[str, Any]) -> str:
    if not one["compared"]:
        return ""
    if not one["differences"]:
        return f"<p>{one['compared']} resource(s) compared after the downgrade: all are what they were.</p>"
    rows = [
        (d["resource"], d["how"], d["key"] or "", _record(d["before"]), _record(d["after"]))
        for d in one["differences"]
    ]
    table = _table(("resource", "how", "first record", "before", "after"), rows)
    shapes = [shape for d in one["differences"] for shape in d["shape"]]
    if shapes:
        table += _table(
            ("defined otherwise", "before", "after"), [(n, w or "–", a or "–") for n, w, a in shapes]
        )
    return f'<h3 class="red">After the downgrade this is not what it was</h3>{table}'


def _copies(copies: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        (
            one["conn_id"],
            ", ".join(one["copied"]),
            _size("", one["bytes"]),
            seconds(one["seconds"]),
            f"{sum(one['kept'].values()):,} of {sum(one['records'].values()):,}",
            one["sampled"] or "all",
        )
        for one in copies
    ]
    head = ("database", "copied", "backup", "loaded in", "records", "sample")
    return f"<h2>The copies</h2>{_table(head, rows, numbers=(2, 3))}"


def _record(record: Mapping[str, Any] | None) -> str:
    return "not there" if record is None else json.dumps(record, ensure_ascii=False, indent=1, default=str)


def _size(name: str, size: float) -> str:
    if name.startswith("number"):
        return f"{size:,.0f}"
    for unit in ("bytes", "KB", "MB", "GB"):
        if abs(size) < 1024 or unit == "GB":
            return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"
        size /= 1024
    return ""


def _folded(title: str, inner: str) -> str:
    return f"<details><summary>{escape(title)}</summary>{inner}</details>"


def _table(head: Sequence[str], rows: Sequence[Sequence[Any]], numbers: Sequence[int] = ()) -> str:
    def row(cells: Sequence[Any], tag: str) -> str:
        made = []
        for place, cell in enumerate(cells):
            cls = ' class="n"' if place in numbers else ""
            text = escape(str(cell))
            made.append(
                f"<{tag}{cls}>{f'<code>{text}</code>' if text.startswith(('{', '[')) else text}</{tag}>"
            )
        return f"<tr>{''.join(made)}</tr>"

    if not rows:
        return ""
    return f"<table>{row(head, 'th') if head else ''}{''.join(row(one, 'td') for one in rows)}</table>"
