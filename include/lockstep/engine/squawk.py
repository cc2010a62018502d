"""Squawk's opinion of a revision's SQL: a linter of PostgreSQL statements, run as a program of its own."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from lockstep.domain.errors import LockstepError
from lockstep.domain.linting.finding import Finding, Placed, Severity, placed
from lockstep.domain.operations.sql import Sql
from lockstep.domain.revision import Revision

#: before the names of its rules, in findings and in lint_ignore
PREFIX = "squawk:"
#: Rules whose word is not passed on: Lockstep's own know which tables the revision makes, and how a failure is taken
#: back; and every statement has a lock_timeout. Left out here and not by --exclude, which refuses names that this
#: squawk does not know.
_OURS = frozenset(
    {
        "require-timeout-settings",
        "require-lock-timeout",
        "require-statement-timeout",
        "prefer-robust-stmts",
        "transaction-nesting",
        "require-concurrent-index-creation",
        "require-concurrent-index-deletion",
        "ban-concurrent-index-creation-in-transaction",
        "constraint-missing-not-valid",
        "adding-foreign-key-constraint",
        "adding-not-nullable-field",
        "disallowed-unique-constraint",
        "changing-column-type",
        "ban-drop-table",
        "ban-drop-column",
        "ban-truncate-cascade",
    }
)
_SECONDS = 60


def program() -> Path | None:
    """Return where squawk is: beside this Python, where the extra `lint` puts it, or on PATH."""
    beside = Path(sys.executable).with_name("squawk")
    found = str(beside) if beside.is_file() else shutil.which("squawk")
    return Path(found) if found else None


def opinions(revision: Revision, squawk: Path) -> list[Finding]:
    """Return what squawk finds in the SQL of a revision. LockstepError where it does not work."""
    statements = list(placed(revision))
    inside = [one for one in statements if isinstance(one.operation, Sql)]
    outside = [one for one in statements if not isinstance(one.operation, Sql)]
    return [*_asked(squawk, inside, "--assume-in-transaction"), *_asked(squawk, outside)]


def _asked(squawk: Path, statements: Sequence[Placed], *options: str) -> Iterator[Finding]:
    if not statements:
        return
    with tempfile.TemporaryDirectory(prefix="lockstep-lint-") as folder:
        places: dict[str, Placed] = {}
        for number, one in enumerate(statements):
            path = Path(folder, f"{number:04}.sql")
            path.write_text(one.text.rstrip().rstrip(";") + ";\n", encoding="utf-8")
            places[path.name] = one
        command = [
            str(squawk),
            "--reporter=json",
            *options,
            *(f"{folder}/{name}" for name in places),
        ]
        for found in _answer(command):
            if found["rule_name"] in _OURS:
                continue
            yield _finding(found, places[Path(str(found["file"])).name])


def _answer(command: Sequence[str]) -> list[dict[str, object]]:
    """Return what it prints; it ends with 1 where it finds anything."""
    try:
        ended = subprocess.run(  # noqa: S603 - our own arguments; the SQL is in files
            command, capture_output=True, text=True, timeout=_SECONDS, check=False
        )
        listed = json.loads(ended.stdout or "[]")
    except (OSError, subprocess.TimeoutExpired, ValueError) as problem:
        raise LockstepError(f"{command[0]} does not work: {problem}.") from problem
    if ended.returncode not in (0, 1) or not isinstance(listed, list):
        said = ended.stderr.strip().splitlines()[-1:] or ["it says nothing"]
        raise LockstepError(f"squawk ended with {ended.returncode}: {said[0]}. Look at .squawk.toml.")
    return listed


def _finding(found: dict[str, object], one: Placed) -> Finding:
    return Finding(
        code=f"{PREFIX}{found['rule_name']}",
        severity=Severity.ERROR if found["rule_name"] == "syntax-error" else Severity.WARNING,
        where=one.where,
        message=" ".join(str(found["message"]).split()),
        fix=" ".join(str(found.get("help") or "see https://squawkhq.com/docs/rules").split()),
    )
