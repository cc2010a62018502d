"""Plain HTML for plain values. Everything is escaped."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 72rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #8884; }
th { font-weight: 600; white-space: nowrap; } .long { overflow-wrap: anywhere; }
code { font-family: ui-monospace, monospace; font-size: .9em; white-space: pre-wrap; overflow-wrap: anywhere; }
summary { cursor: pointer; }
.status { font-weight: 700; }
.switch { display: flex; gap: .5rem; align-items: center; flex-wrap: wrap; margin: 1rem 0; }
.switch input { flex: 1 1 20rem; } .switch input, .switch button { font: inherit; padding: .3rem .6rem; }
"""

#: letters of a word that may be broken anywhere
LONG = 24
#: letters of a value that is shown without being asked for
FOLDED = 160


def page(title: str, *parts: str) -> str:
    """Return a whole page."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{_STYLE}</style></head><body><h1>{escape(title)}</h1>{''.join(parts)}</body></html>"
    )


def facts(heading: str, values: Mapping[str, Any]) -> str:
    """Return values under a heading, one a row; what is empty is left out."""
    rows = "".join(
        f"<tr><th>{escape(name.replace('_', ' '))}</th><td>{_cell(value)}</td></tr>"
        for name, value in values.items()
        if value not in (None, "", [], {})
    )
    return f"<h2>{escape(heading)}</h2><table>{rows}</table>"


def table(heading: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows under a heading, with the columns of the first."""
    if not rows:
        return f"<h2>{escape(heading)}</h2><p>None.</p>"
    names = list(rows[0])
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(row.get(name))}</td>" for name in names) + "</tr>" for row in rows
    )
    return f"<h2>{escape(heading)}</h2><table><tr>{head}</tr>{body}</table>"


def link(text: str, to: str) -> str:
    return f'<p><a href="{escape(to, quote=True)}">{escape(text)}</a></p>'


def duration(seconds: float) -> str:
    """Say about how long something takes."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (dict, list)):
        return _json(value)
    shown = escape(str(value))
    # A column may become as narrow as its longest word, and a key or an address is one.
    return (
        f'<span class="long">{shown}</span>' if max(map(len, str(value).split()), default=0) > LONG else shown
    )


def _json(value: dict[str, Any] | list[Any]) -> str:
    """Return a short value as it is, and fold a long one under the names that it has."""
    short = json.dumps(value, ensure_ascii=False)
    if len(short) <= FOLDED:
        return f"<code>{escape(short)}</code>"
    named = ", ".join(value) if isinstance(value, dict) else f"{len(value)} of them"
    whole = escape(json.dumps(value, indent=1, ensure_ascii=False))
    return f"<details><summary>{escape(named)}</summary><code>{whole}</code></details>"
