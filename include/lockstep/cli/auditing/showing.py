"""Entries of the history as a person reads them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from lockstep.domain.history import Entry

#: columns of a page that is not a terminal
_WIDTH = 160
#: characters of a story in the table; --full and --json have all of it
_MOST = 200
#: what nearly every entry says, and a table has no room for
_USUAL = frozenset(
    {
        "params",
        "direction",
        "checksum",
        "dag_run",
        "parent",
        "versions",
        "host",
        "task",
        "log_url",
        "traceback",
    }
)


def print_table(entries: Iterable[Entry]) -> None:
    """Print one row an entry."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("id", "at (UTC)", "who", "what", "revision", "run", "more"):
        table.add_column(
            name,
            justify="right" if name == "id" else "left",
            overflow="fold",
            no_wrap=name in ("id", "at (UTC)"),
        )
    for entry in entries:
        cells = (
            str(entry["id"]),
            str(entry["at"])[:19].replace("T", " "),
            str(entry["who"]),
            what(entry),
            str(entry["revision"] or ""),
            str(entry["run_id"] or ""),
            story(entry),
        )
        table.add_row(*(Text(_printable(cell)) for cell in cells))
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)
    console.print(table)


def print_full(entries: Iterable[Entry]) -> None:
    """Print all that each entry says."""
    for entry in entries:
        head = f"{entry['id']}  {entry['at']}  {entry['who']}  {what(entry)}"
        print(_printable(head))
        for name in ("revision", "run_id", "reason"):
            if entry[name]:
                print(f"    {name}: {_printable(str(entry[name]))}")
        for name, value in dict(entry["detail"]).items():
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            lines = _printable(text).rstrip("\n").split("\n")
            print(f"    {name}: {lines[0]}" if len(lines) == 1 else f"    {name}:")
            for line in lines if len(lines) > 1 else ():
                print(f"        {line}")
        print(f"    hash: {entry['hash']}\n")


def what(entry: Entry) -> str:
    """Return a change of status, or the kind of what is none."""
    if entry["to_status"]:
        return f"{entry['from_status']} → {entry['to_status']}"
    if entry["kind"] == "ended" and isinstance(entry["detail"], Mapping):
        return f"ended: {entry['detail'].get('status')}"
    return str(entry["kind"])


def story(entry: Entry) -> str:
    """Return in a line what an entry tells beside that."""
    detail: Mapping[str, Any] = entry["detail"] if isinstance(entry["detail"], Mapping) else {}
    parts = [str(detail[name]) for name in ("where", "error") if detail.get(name)]
    if parts and entry["kind"] != "ended":
        return _short(": ".join(parts))
    if entry["reason"]:
        return _short(str(entry["reason"]))
    if entry["kind"] == "opened":
        return _short(f"{detail.get('direction')}, checksum {str(detail.get('checksum'))[:12]}")
    if entry["kind"] == "ended":
        written = sum(one.get("written", 0) for one in detail.get("operations", ()))
        return _short(f"after {detail.get('seconds')} s, {written} record(s) written")
    rest = {name: value for name, value in detail.items() if name not in _USUAL}
    return _short(", ".join(f"{name} {_said(value)}" for name, value in rest.items()))


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _MOST else f"{line[:_MOST]}…"


def _printable(text: str) -> str:
    """Return text that moves no cursor: an error may hold anything."""
    return "".join(char if char.isprintable() or char in "\n\t" else "�" for char in text)
