"""Segments: pieces of the history as objects of JSON lines below `history/` in the vault.

A chain has a folder of its own, named by the hash of its first entry, so that two ledgers never mix. An object is named
by its first and last id and the hash of the last; it has a line for each entry, and a last line with the head. Two
writers may make segments that overlap: their lines are the same, and a reader passes by those that it knows.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from lockstep.domain.errors import DataError
from lockstep.domain.history import FIELDS, Entry, Head, Segment, dumps, head_of
from lockstep.engine.ports import Vault

FOLDER = "history"
CONTENT_TYPE = "application/x-ndjson"
_NAME = re.compile(r"history/([0-9a-f]{16})/(\d{12})-(\d{12})-([0-9a-f]{12})\.jsonl")


@dataclass(frozen=True, kw_only=True)
class Line:
    """A line of an archived segment."""

    path: str
    number: int
    #: None for a line that is no entry
    entry: Entry | None
    #: what is wrong with the line itself
    problem: str = ""


@dataclass(frozen=True, kw_only=True)
class Object:
    """What the name of an archived segment says."""

    path: str
    #: the chain's folder
    chain: str
    first: int
    last: int


def folder_of(first_hash: str) -> str:
    """Return the folder of the chain whose first entry has this hash."""
    return f"{FOLDER}/{first_hash[:16]}"


def segment_of(first_hash: str, entries: Sequence[Entry]) -> tuple[Segment, bytes]:
    """Return a segment of entries that follow each other, and its bytes."""
    head = head_of(entries[-1])
    first = int(entries[0]["id"])
    lines = [*(dumps(entry) for entry in entries), dumps({"format": 1, "head": vars(head)})]
    body = ("\n".join(lines) + "\n").encode("utf-8", "surrogatepass")
    path = f"{folder_of(first_hash)}/{first:012d}-{head.id:012d}-{head.hash[:12]}.jsonl"
    return Segment(path=path, first=first, head=head, sha256=hashlib.sha256(body).hexdigest()), body


def objects(vault: Vault, chain: str | None = None) -> list[Object]:
    """Return the archived segments of a chain's folder, or of all, in order."""
    found = []
    for path in vault.paths(FOLDER if chain is None else f"{FOLDER}/{chain}"):
        named = _NAME.fullmatch(path)
        if named is not None:
            found.append(Object(path=path, chain=named[1], first=int(named[2]), last=int(named[3])))
    return sorted(found, key=lambda one: (one.chain, one.first, one.last, one.path))


def lines_of(path: str, body: bytes) -> Iterator[Line]:
    """Yield the lines of an object, the head's last."""
    for number, text in enumerate(body.split(b"\n"), 1):
        if not text:
            continue
        try:
            read = json.loads(text)
        except (ValueError, RecursionError):
            yield Line(path=path, number=number, entry=None, problem="it is no JSON")
            continue
        yield _line(path, number, read)


def _line(path: str, number: int, read: Any) -> Line:
    if isinstance(read, dict) and isinstance(read.get("head"), dict):
        return Line(path=path, number=number, entry=None)
    if not isinstance(read, dict) or not isinstance(read.get("id"), int):
        return Line(path=path, number=number, entry=None, problem="it is no entry of a history")
    missing = [name for name in FIELDS if name not in read]
    if missing:
        return Line(path=path, number=number, entry=None, problem=f"the entry lacks {', '.join(missing)}")
    return Line(path=path, number=number, entry=read)


def head_in(body: bytes) -> Head | None:
    """Return the head that an object's last line says; None where it has none."""
    last = body.rstrip(b"\n").rpartition(b"\n")[2]
    try:
        said = json.loads(last)["head"]
        return Head(id=int(said["id"]), hash=str(said["hash"]))
    except (ValueError, KeyError, TypeError):
        return None


def body_of(vault: Vault, path: str) -> bytes | None:
    """Return an object's bytes; None where it is not there."""
    try:
        return vault.get(path)
    except DataError:
        return None
