"""Rehearsals, and how their predictions compare with the real runs."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lockstep.domain.errors import Refused
from lockstep.domain.rehearsal import Compared, Rehearsal
from lockstep.stores.ledger.connect import Db
from lockstep.stores.ledger.plain import dumps
from lockstep.stores.ledger.rows import compared_of, rehearsal_of

# A rehearsal that begins, on the ledger's clock.
_ADD = """
    INSERT INTO _migration_rehearsals (id, target, dag_id, dag_run_id, asked_by, revisions, params)
    VALUES (%(id)s, %(target)s, %(dag_id)s, %(dag_run_id)s, %(by)s, %(revisions)s::jsonb, %(params)s::jsonb)
"""
# What is known of it by now.
_CHANGE = """
    UPDATE _migration_rehearsals SET
        revisions = coalesce(%(revisions)s::jsonb, revisions),
        report_path = coalesce(%(report_path)s, report_path),
        report_sha256 = coalesce(%(report_sha256)s, report_sha256),
        predicted = coalesce(%(predicted)s::jsonb, predicted),
        facts = facts || coalesce(%(facts)s::jsonb, '{}'),
        verdict = coalesce(%(verdict)s, verdict),
        ended_at = CASE WHEN %(verdict)s::text IS NULL THEN ended_at ELSE clock_timestamp() END
    WHERE id = %(id)s RETURNING *
"""
# One rehearsal.
_ONE = "SELECT * FROM _migration_rehearsals WHERE id = %s"
# The one of an Airflow run.
_OF_CALLER = """
    SELECT * FROM _migration_rehearsals WHERE dag_id = %s AND dag_run_id = %s ORDER BY seq DESC LIMIT 1
"""
# The latest first.
_LATEST = "SELECT * FROM _migration_rehearsals ORDER BY seq DESC LIMIT %s"
# What was predicted for a run, beside what it took.
_COMPARE = """
    INSERT INTO _migration_predictions (
        rehearsal_id, run_id, revision, predicted_seconds, low_seconds, high_seconds, actual_seconds
    ) VALUES (%(rehearsal)s, %(run)s, %(revision)s, %(seconds)s, %(low)s, %(high)s, %(actual)s)
    ON CONFLICT (rehearsal_id, run_id) DO UPDATE SET actual_seconds = excluded.actual_seconds
"""
# Comparisons of a run, or all of them, latest first.
_COMPARED = """
    SELECT * FROM _migration_predictions WHERE %(run)s::text IS NULL OR run_id = %(run)s ORDER BY at DESC LIMIT 200
"""
_FIELDS = ("revisions", "report_path", "report_sha256", "predicted", "facts", "verdict")
_AS_JSON = ("revisions", "predicted", "facts")


def add(db: Db, rehearsal: Rehearsal) -> None:
    caller = rehearsal.caller
    db.execute(
        _ADD,
        {
            "id": rehearsal.id,
            "target": rehearsal.target,
            "dag_id": caller.dag_id,
            "dag_run_id": caller.dag_run_id,
            "by": caller.by,
            "revisions": dumps(rehearsal.revisions),
            "params": dumps(rehearsal.params),
        },
    )


def change(db: Db, rehearsal_id: str, changes: dict[str, Any]) -> Rehearsal:
    """Change fields; a verdict also ends it. Refused for one that there is not."""
    values: dict[str, Any] = dict.fromkeys(_FIELDS) | {"id": rehearsal_id}
    for name, value in changes.items():
        if name not in _FIELDS:
            raise TypeError(f"a rehearsal has no {name!r} that can be changed")
        if name == "predicted":
            value = {revision: asdict(one) for revision, one in value.items()}
        values[name] = dumps(value) if name in _AS_JSON else getattr(value, "value", value)
    row = db.execute(_CHANGE, values).fetchone()
    if row is None:
        raise unknown(rehearsal_id)
    return rehearsal_of(row)


def one(db: Db, rehearsal_id: str) -> Rehearsal:
    row = db.execute(_ONE, [rehearsal_id]).fetchone()
    if row is None:
        raise unknown(rehearsal_id)
    return rehearsal_of(row)


def of_caller(db: Db, dag_id: str, dag_run_id: str) -> Rehearsal | None:
    row = db.execute(_OF_CALLER, [dag_id, dag_run_id]).fetchone()
    return None if row is None else rehearsal_of(row)


def latest(db: Db, limit: int) -> list[Rehearsal]:
    return [rehearsal_of(row) for row in db.execute(_LATEST, [limit])]


def unknown(rehearsal_id: str) -> Refused:
    return Refused(
        f"the ledger knows no rehearsal {rehearsal_id!r}. Look at the list of rehearsals for its id.",
        rehearsal=rehearsal_id,
    )


def compare(db: Db, compared: Compared) -> None:
    predicted = compared.predicted
    db.execute(
        _COMPARE,
        {
            "rehearsal": compared.rehearsal_id,
            "run": compared.run_id,
            "revision": compared.revision,
            "seconds": predicted.seconds,
            "low": predicted.low,
            "high": predicted.high,
            "actual": compared.actual_seconds,
        },
    )


def comparisons(db: Db, run_id: str | None) -> list[Compared]:
    return [compared_of(row) for row in db.execute(_COMPARED, {"run": run_id})]
