"""Compare the shape of each database with the one that the chain's runs left, object by object."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from fnmatch import fnmatchcase
from typing import Any, Literal

from lockstep.domain.errors import Refused
from lockstep.domain.resources import Database
from lockstep.engine.housekeeping.found import Found
from lockstep.engine.services import Services

#: where the vault keeps the latest comparison, for the page that shows it
LATEST = "housekeeping/drift.json"

Kind = Literal["missing", "extra", "changed"]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One object of a database that is not as the last run left it."""

    conn_id: str
    #: such as "table users" or "index users_email"
    object: str
    kind: Kind
    #: its definition when the last run ended, and now; None where it was or is not there
    expected: str | None = None
    now: str | None = None

    def __str__(self) -> str:
        return f"{self.conn_id}: {self.object} is {self.kind}"


def compare(
    conn_id: str, expected: Mapping[str, str], now: Mapping[str, str], ignore: Sequence[str] = ()
) -> list[Difference]:
    """Return the differences between two shapes, by object.

    `ignore`: patterns with * and ?, matched against "table users" and against "campus_auth table users".
    """
    found = []
    for name in sorted({*expected, *now}):
        before, after = expected.get(name), now.get(name)
        if before == after or is_ignored(conn_id, name, ignore):
            continue
        kind: Kind = "extra" if before is None else "missing" if after is None else "changed"
        found.append(Difference(conn_id=conn_id, object=name, kind=kind, expected=before, now=after))
    return found


def is_ignored(conn_id: str, name: str, ignore: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) or fnmatchcase(f"{conn_id} {name}", pattern) for pattern in ignore)


def find_drift(
    services: Services,
    databases: Iterable[Database],
    *,
    ignore: Sequence[str] = (),
    fail: bool = False,
    dry_run: bool = False,
) -> Found:
    """Tell how the live databases differ from what the chain's runs left; a problem only with `fail`.

    The comparison is kept in the vault for the page, unless this is a dry run.
    """
    shapes = services.ledger.shapes()
    differences: list[Difference] = []
    compared: dict[str, Any] = {}
    for database in databases:
        known = shapes.get(database.conn_id)
        if known is None:
            services.log.info(
                f"{database.conn_id}: no run has left a shape yet; the next one that touches it does"
            )
            continue
        run_id, at, expected = known
        try:
            now = services.store(database).portrait()
        except Refused as refusal:
            if not dry_run:
                raise
            # Some servers have to be written to before their shape can be read.
            services.log.warning(f"{database.conn_id} is not compared in a dry run: {refusal}")
            continue
        found = compare(database.conn_id, expected, now, ignore)
        compared[database.conn_id] = {"run": run_id, "at": at.isoformat(), "objects": len(expected)}
        differences += found
        _tell(services, database, run_id, found)
    if not dry_run:
        _keep(services, compared, differences, ignore)
    lines = tuple(str(one) for one in differences)
    facts = {"databases": len(compared), "differences": len(differences)}
    if fail and lines:
        return Found(
            problems=tuple(f"{line}. Make it a revision, or put it back, or ignore it" for line in lines),
            facts=facts,
        )
    return Found(done=lines, facts=facts)


def _tell(services: Services, database: Database, run_id: str, found: list[Difference]) -> None:
    if not found:
        services.log.info(f"{database.conn_id} is as run {run_id} left it")
        return
    with services.log.group(f"{database.conn_id}: {len(found)} object(s) are not as run {run_id} left them"):
        for one in found:
            services.log.warning(f"{one.object} is {one.kind}")
            for line in changed_lines(one):
                services.log.warning(f"    {line}")


def changed_lines(difference: Difference) -> list[str]:
    """Return both definitions as the lines that came and went; of a short one all of it."""
    before = (difference.expected or "").splitlines()
    after = (difference.now or "").splitlines()
    return [
        line
        for line in difflib.unified_diff(before, after, lineterm="", n=1)
        if not line.startswith(("---", "+++", "@@"))
    ]


def _keep(
    services: Services, compared: Mapping[str, Any], differences: Sequence[Difference], ignore: Sequence[str]
) -> None:
    content = {
        "at": datetime.now(timezone.utc).isoformat(),
        "compared": compared,
        "ignored": list(ignore),
        "differences": [asdict(one) for one in differences],
    }
    body = json.dumps(content, indent=1, ensure_ascii=False).encode("utf-8", "backslashreplace")
    services.vault.put(LATEST, body, "application/json")
