"""Rules on locks: who has to wait for a revision, and for how long."""

from __future__ import annotations

import re
from collections.abc import Iterator

from lockstep.domain.destroying import plain_parts
from lockstep.domain.linting.finding import (
    Finding,
    Placed,
    Severity,
    made_tables,
    operations,
    place,
    placed,
    warning,
)
from lockstep.domain.locking import Locks, locks_of
from lockstep.domain.operations.base import Statements
from lockstep.domain.operations.drop_column import DropColumn
from lockstep.domain.operations.drop_table import DropTable
from lockstep.domain.operations.restore import Restore
from lockstep.domain.operations.rewrite_table import RewriteTable
from lockstep.domain.operations.sql_outside_transaction import SqlOutsideTransaction
from lockstep.domain.resources import Postgres
from lockstep.domain.revision import Revision

# Matched against a statement in lower case, with single spaces and without what it quotes.
_ON_TABLE = re.compile(
    r"(?:alter table(?: if exists)?(?: only)?|.*?\bon(?: only)?|cluster(?: verbose)?|vacuum.*?\bfull\b\)?)"
    r" (?P<name>[\w.$]+)"
)
_BUILDS_INDEX = re.compile(
    r"create( unique)? index (?!concurrently)|drop index (?!concurrently)|reindex (?!.*\bconcurrently\b)"
)
_VALIDATES = re.compile(
    r"alter table .*\b(?:add (?:constraint \S+ )?(?:foreign key|check)\b(?!.*\bnot valid\b)"
    r"|add (?:constraint \S+ )?(?:unique|primary key|exclude)\b(?! using index)|set not null)"
)
_REWRITES = re.compile(
    r"alter table .*\b(?:alter(?: column)? \S+ (?:set data )?type\b|set (?:un)?logged)|cluster\b|vacuum\b.*\bfull\b"
)
_HELD = {
    Locks.STRONG: "a lock that everybody else on the table queues behind, asked for 2 s at a time",
    Locks.CONCURRENT: "a weak lock: readers and writers go on",
    Locks.PLAIN: "locks of rows",
}


def _in_use(revision: Revision) -> Iterator[tuple[Placed, str, str]]:
    """Yield parts of statements on tables that were there before: the statement, the part, the table."""
    made = made_tables(revision)
    for one in placed(revision):
        for part in plain_parts(one.text):
            found = _ON_TABLE.match(part)
            name = found["name"] if found else "its table"
            if name not in made:
                yield one, part, name


def blocking_index(revision: Revision) -> Iterator[Finding]:
    for one, part, name in _in_use(revision):
        if _BUILDS_INDEX.match(part):
            words = " ".join(part.split()[:2]).upper()
            yield warning(
                "blocking-index",
                one.where,
                f"{words} without CONCURRENTLY keeps writers of {name} waiting until it is done.",
                "say CONCURRENTLY, in ops.sql_outside_transaction.",
            )


def validates_under_lock(revision: Revision) -> Iterator[Finding]:
    for one, part, name in _in_use(revision):
        if _VALIDATES.match(part):
            yield warning(
                "validates-under-lock",
                one.where,
                f"every row of {name} is checked while nobody may use it.",
                "add a check or foreign key NOT VALID and validate it in ops.sql_outside_transaction; for NOT NULL "
                "validate such a check first; for UNIQUE build the index CONCURRENTLY and add it USING INDEX.",
            )


def rewrites_under_lock(revision: Revision) -> Iterator[Finding]:
    for one, part, name in _in_use(revision):
        if _REWRITES.match(part):
            yield warning(
                "rewrites-under-lock",
                one.where,
                f"the whole of {name} may be written anew while nobody may use it.",
                "add a column, fill it with ops.update_rows and drop the old one; or ops.rewrite_table in a downtime.",
            )


def not_repeatable(revision: Revision) -> Iterator[Finding]:
    """Statements outside a transaction that a crash may let run twice."""
    for one in placed(revision):
        if not isinstance(one.operation, SqlOutsideTransaction):
            continue
        for part in plain_parts(one.text):
            if re.match(r"(create|drop|alter type|alter table .*\badd\b|insert)\b", part) and not re.search(
                r"create( unique)? index concurrently|\bif (not )?exists\b|or replace|on conflict", part
            ):
                yield warning(
                    "not-repeatable",
                    one.where,
                    "it runs in no transaction, so that a crash right after it lets it run a second time, and fail.",
                    "say IF EXISTS, IF NOT EXISTS, OR REPLACE or ON CONFLICT.",
                )


def whole_database(revision: Revision) -> Iterator[Finding]:
    for direction, number, operation in operations(revision):
        if isinstance(operation, Statements) and operation.touches is None:
            yield warning(
                "whole-database",
                place(revision, direction, number),
                f"it does not say what it touches: all of {operation.database.conn_id} is backed up and compared.",
                "name its tables in touches=.",
            )


def locks(revision: Revision) -> Iterator[Finding]:
    """The class of lock that each operation takes, a statement at a time."""
    for one in placed(revision):
        yield _lock(one.where, one.operation.title, locks_of(one.text))
    for direction, number, operation in operations(revision):
        if isinstance(operation, Statements) or not isinstance(operation.database, Postgres):
            continue
        strong = isinstance(operation, (DropTable, DropColumn, RewriteTable, Restore))
        kind = Locks.STRONG if strong else Locks.PLAIN
        yield _lock(place(revision, direction, number), operation.title, kind)


def _lock(where: str, title: str, kind: Locks) -> Finding:
    return Finding(
        code="locks",
        severity=Severity.INFO,
        where=where,
        message=f"{title} takes {_HELD[kind]}.",
        fix="nothing, if that is what you expect.",
    )
