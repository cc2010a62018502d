"""The plan of a dry run, as a person reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any


def plan_of(told: Any) -> Any:
    """Return what the task left behind with its plan; a list of revisions is one without anything beside it."""
    return {"plan": told} if isinstance(told, list) else told if isinstance(told, Mapping) else {"plan": []}


def plan_lines(told: Mapping[str, Any]) -> Iterator[str]:
    """Yield the plan: a line for each revision, below it what is known of it, and last what was checked.

    The plan has its lines with it; one without them is put into words from what it holds.
    """
    revisions = [one for one in told.get("plan") or [] if isinstance(one, Mapping)]
    yield f"plan: {len(revisions)} revision(s) would move" if revisions else "plan: there is nothing to do"
    for one in revisions:
        if isinstance(one.get("lines"), list):
            first, *rest = [str(line) for line in one["lines"]] or [""]
            yield from (first, *(f"  {line}" for line in rest))
            continue
        yield f"{one.get('direction', 'upgrade')} {one.get('revision')}  {one.get('description') or ''}".rstrip()
        for name, words in _WORDS.items():
            found = one.get(name)
            for item in found if isinstance(found, list) else [found] if found else []:
                said = words(item) if isinstance(item, Mapping) else str(item)
                yield f"  {said}"
    for check in told.get("checks") or []:
        yield f"{_of(check, 'check')}, {_of(check, 'place')}: {_of(check, 'state')}. {_of(check, 'words')}".rstrip()


def _of(item: Mapping[str, Any], name: str) -> Any:
    found = item.get(name)
    return "" if found is None else found


def _operation(item: Mapping[str, Any]) -> str:
    lock = item.get("lock")
    said = [
        "" if lock in (None, "none") else f"locks: {lock}",
        "" if item.get("records") is None else f"about {item['records']:,} record(s) there",
        "lossy" if item.get("lossy") else "",
    ]
    more = "; ".join(part for part in said if part)
    return f"{_of(item, 'number')}. {_of(item, 'what')}" + (f" ({more})" if more else "")


def _backup(item: Mapping[str, Any]) -> str:
    size = item.get("bytes")
    of = "of unknown size" if size is None else f"{size:,} bytes on its server"
    return f"backup of {_of(item, 'conn_id')} ({', '.join(map(str, item.get('resources') or []))}): {of}"


def _predicted(item: Mapping[str, Any]) -> str:
    return f"expected to take {float(item.get('seconds') or 0):.1f} s"


def _rehearsal(item: Mapping[str, Any]) -> str:
    of = "" if item.get("current", True) else " of the file as it was before an edit"
    return f"rehearsal {_of(item, 'id')}{of}: {item.get('problem') or item.get('verdict') or 'goes on'}"


def _finding(item: Mapping[str, Any]) -> str:
    return (
        f"lint: {_of(item, 'severity')} [{_of(item, 'code')}] {_of(item, 'message')} Fix: {_of(item, 'fix')}"
    )


def _approval(item: Mapping[str, Any]) -> str:
    return f"approval: {_of(item, 'state')}" + (f": {item['why']}" if item.get("why") else "")


#: what is known of a revision → how it is said, in this order
_WORDS: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "operations": _operation,
    "backups": _backup,
    "predicted": _predicted,
    "rehearsal": _rehearsal,
    "findings": _finding,
    "readiness": str,
    "approval": _approval,
}
