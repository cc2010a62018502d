"""Entries of the history: how each is sealed by the hash of the one before it, and how a chain of them is checked.

An entry is plain JSON: id, at (ISO 8601, UTC), revision, run_id, kind, from_status, to_status, reason, who, detail,
prev_hash and hash.

hash = SHA-256 over the UTF-8 text of a JSON array, keys sorted, without spaces, non-ASCII as it is:
[prev_hash, id, at, revision, run_id, kind, from_status, to_status, reason, who, detail].
The first entry's prev_hash is empty.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

Entry: TypeAlias = Mapping[str, Any]

#: what is sealed, in this order, after prev_hash
SEALED = (
    "id",
    "at",
    "revision",
    "run_id",
    "kind",
    "from_status",
    "to_status",
    "reason",
    "who",
    "detail",
)
#: every field of an entry
FIELDS = (*SEALED, "prev_hash", "hash")


@dataclass(frozen=True, kw_only=True)
class Head:
    """Where a chain ends: the id and the hash of its last entry."""

    id: int = 0
    hash: str = ""


@dataclass(frozen=True, kw_only=True)
class BrokenLink:
    """The first place at which a chain does not hold."""

    #: the entry that is missing, out of place or changed
    id: int
    #: what is wrong with it: "id" for one that is missing or out of place, "prev_hash", or "hash" for its content
    field: str
    problem: str


@dataclass(frozen=True, kw_only=True)
class Segment:
    """Entries of the history that follow each other, as one object of JSON lines in the vault."""

    path: str
    first: int
    head: Head
    #: of the object's bytes
    sha256: str


def dumps(value: Any) -> str:
    """Return the one JSON text of plain values: what is hashed, and what a line of the archive is."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def seal(entry: Entry) -> str:
    """Return the hash that an entry must have."""
    text = dumps([entry["prev_hash"], *(entry[name] for name in SEALED)])
    # What cannot be stored cannot be sealed either; a line that somebody edited may hold it.
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def head_of(entry: Entry) -> Head:
    return Head(id=entry["id"], hash=entry["hash"])


def broken_link(entry: Entry, before: Head) -> BrokenLink | None:
    """Return what is wrong with an entry that is to follow `before`; None where it does."""
    expected = before.id + 1
    if entry["id"] != expected:
        after = f"entry {before.id}" if before.id else "nothing"
        return BrokenLink(
            id=expected, field="id", problem=f"entry {expected} is missing: after {after} comes {entry['id']}"
        )
    if entry["prev_hash"] != before.hash:
        return BrokenLink(
            id=expected,
            field="prev_hash",
            problem=f"its prev_hash is {short(entry['prev_hash'])}, and the hash before it is {short(before.hash)}",
        )
    sealed = seal(entry)
    if entry["hash"] != sealed:
        return BrokenLink(
            id=expected,
            field="hash",
            problem=f"its hash is {short(entry['hash'])}, and its content has the hash {short(sealed)}",
        )
    return None


def broken_end(read: Head, end: Head) -> BrokenLink | None:
    """Return what is wrong where a chain was read up to `read` and is said to end at `end`."""
    if end.id > read.id:
        return BrokenLink(
            id=read.id + 1,
            field="id",
            problem=f"entry {read.id + 1} is missing: the chain ends at {end.id}, and the last entry is {read.id}",
        )
    if end.id < read.id:
        return BrokenLink(
            id=end.id + 1 if end.id + 1 < read.id else read.id,
            field="id",
            problem=f"the chain ends at entry {end.id}, and there are entries up to {read.id}",
        )
    if end.hash != read.hash:
        return BrokenLink(
            id=read.id,
            field="hash",
            problem=f"its hash is {short(read.hash)}, and the chain is said to end with {short(end.hash)}",
        )
    return None


def differing(one: Entry, other: Entry) -> list[str]:
    """Name the fields in which two versions of an entry differ; those inside the detail as "detail.name"."""
    found = []
    for name in FIELDS:
        left, right = one.get(name), other.get(name)
        if left == right and type(left) is type(right):
            continue
        if name == "detail" and isinstance(left, Mapping) and isinstance(right, Mapping):
            found += [
                f"detail.{key}"
                for key in sorted({*left, *right})
                if left.get(key, ...) != right.get(key, ...)
            ] or ["detail"]
        else:
            found.append(name)
    return found


def short(value: object) -> str:
    """Return a hash as a person reads it."""
    text = str(value)
    return "empty" if not text else f"{text[:12]}…" if len(text) > 12 else text
