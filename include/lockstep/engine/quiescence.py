"""What a backup is one state of, and whether anything changed while it was read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from lockstep.domain.progress import Fingerprint
from lockstep.domain.resources import Database, Mongo, Postgres

#: rows up to which a table's keys are read again, only to say whether it was quiet
QUICKLY = 100_000


def worth_a_look(database: Database, held: Mapping[str, Fingerprint]) -> bool:
    """Whether to look at all: a snapshot is right either way, so only where that costs next to nothing."""
    return not isinstance(database, Postgres) or sum(one.count for one in held.values()) <= QUICKLY


def changed_meanwhile(
    held: Mapping[str, Fingerprint], now: Mapping[str, Fingerprint], *, keys_only: bool
) -> dict[str, str]:
    """Return the resources that are not what the backup says any more, and how they differ.

    keys_only: `now` has nothing else, so that only records which came or went are seen.
    """
    absent = Fingerprint(present=False)
    found: dict[str, str] = {}
    for slug in sorted({*now, *held}):
        before = held.get(slug, absent)
        seen = replace(before, content="", shape="") if keys_only else before
        how = now.get(slug, absent).differs_from(seen)
        if how:
            found[slug] = how
    return found


def consistency(
    database: Database, held: Mapping[str, Fingerprint], changed: Mapping[str, str] | None, *, keys_only: bool
) -> str:
    """Say what a backup is one state of. `changed`: None where nobody looked."""
    if changed is None:
        meanwhile = "whether anything was written meanwhile was not looked at"
    elif changed:
        told = "; ".join(f"{slug}: {how}" for slug, how in changed.items())
        meanwhile = f"written to meanwhile, which is not in it: {told}"
    elif keys_only:
        meanwhile = "quiet: no record came or went meanwhile"
    else:
        meanwhile = "quiet: nothing changed meanwhile"
    return f"{_how(database, held)}; {meanwhile}"


def _how(database: Database, held: Mapping[str, Fingerprint]) -> str:
    if isinstance(database, Postgres):
        return "one snapshot of the table" if len(held) == 1 else f"one snapshot of all {len(held)} tables"
    if isinstance(database, Mongo):
        return "each collection read once in the order of its _id, without a snapshot over all of them"
    return "each object copied by itself, without a snapshot over all of them"
