"""What a revision's DAG says of itself in Airflow."""

from __future__ import annotations

from lockstep.domain.operations.base import Operation
from lockstep.domain.revision import Direction, Revision, why_not_atomic


def doc_md(revision: Revision) -> str:
    """Return the page of a revision: what it does both ways, why so, and its source."""
    parts = [
        revision.doc or f"*Revision {revision.id} has no docstring.*",
        _facts(revision),
        f"#### Upgrade\n\n{_table(revision.upgrade)}",
        f"#### Downgrade\n\n{_table(revision.downgrade)}",
        f"#### Verified after the upgrade\n\n{_expectations(revision)}",
        f"#### Source: `{revision.file}`\n\n{_fenced(revision.source)}",
    ]
    return "\n\n".join(parts)


def tags(revision: Revision) -> list[str]:
    """Return tags to filter DAGs by; the checksum's makes Airflow see every edit as a new version."""
    kinds = revision.storage_type.split(", ") if revision.storage_type else []
    return sorted({"lockstep", revision.transaction, f"checksum:{revision.checksum[:12]}", *kinds})


def why_this_mode(revision: Revision) -> str:
    """Say how the revision commits, and why so."""
    if revision.transaction == "atomic":
        return "everything and its verification commit in one PostgreSQL transaction, or nothing does"
    reason = why_not_atomic(revision.upgrade)
    if reason:
        return f"each operation commits by itself, since {reason}"
    if any(operation.batched for operation in revision.upgrade):
        return "each batch commits by itself, so that no lock is held for the whole resource"
    return "each operation commits by itself, as the revision asks for or its verification needs"


def mode_of(revision: Revision, direction: Direction) -> str:
    return "one transaction" if revision.is_atomic(direction) else "step by step"


def _facts(revision: Revision) -> str:
    rows = [
        ("Revision", f"`{revision.id}`"),
        ("Follows", f"`{revision.down_revision}`" if revision.down_revision else "nothing: it is the first"),
        ("Touches", ", ".join(str(touched) for touched in revision.touched) or "nothing"),
        ("Transaction", f"**{revision.transaction}**: {why_this_mode(revision)}"),
        ("Downgrade", mode_of(revision, "downgrade")),
        ("Checksum", f"`{revision.checksum}`"),
    ]
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {_cell(value)} |" for name, value in rows)])


def _table(operations: tuple[Operation, ...]) -> str:
    if not operations:
        return "*Nothing.*"
    rows = [
        f"| {number} | `{operation.verb}` | {_cell(operation.describe())} "
        f"| {'in batches' if operation.batched else 'at once'} | {operation.way_back.value} "
        f"| {'yes' if operation.lossy else 'no'} |"
        for number, operation in enumerate(operations, 1)
    ]
    return "\n".join(
        ["| # | Operation | What it does | How | Its way back | Lossy |", "|---|---|---|---|---|---|", *rows]
    )


def _expectations(revision: Revision) -> str:
    if not revision.expectations:
        return "*Only what every operation checks of itself: no record lost, none invented.*"
    return "\n".join(f"* {expectation.describe()}" for expectation in revision.expectations)


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _fenced(source: str) -> str:
    """Return source in a code block whose fence does not occur in it."""
    fence = "```"
    while fence in source:
        fence += "`"
    return f"{fence}python\n{source.rstrip()}\n{fence}"
