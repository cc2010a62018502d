"""Runs and revisions, read and written inside a transaction that somebody else opened."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from psycopg import errors as pg

from lockstep.domain.errors import Refused
from lockstep.domain.run import Caller, RevisionState, Run
from lockstep.domain.status import RunStatus
from lockstep.stores.ledger.connect import Db
from lockstep.stores.ledger.plain import dumps, error_text
from lockstep.stores.ledger.rows import revision_of, run_of

# Every revision that was ever registered.
_REVISIONS = "SELECT * FROM _migrations ORDER BY id"
# One run.
_RUN = "SELECT * FROM _migration_runs WHERE id = %s"
# The one run that is open.
_OPEN = "SELECT * FROM _migration_runs WHERE status = 'open'"
# The latest run that an Airflow run opened or took over.
_OF_CALLER = """
    SELECT r.* FROM _migration_callers c JOIN _migration_runs r ON r.id = c.run_id
    WHERE c.dag_id = %s AND c.dag_run_id = %s ORDER BY c.at DESC, r.seq DESC LIMIT 1
"""
# The latest runs of a revision, or of all.
_LATEST = """
    SELECT * FROM _migration_runs WHERE %(revision)s::text IS NULL OR revision = %(revision)s
    ORDER BY seq DESC LIMIT %(limit)s
"""
# A new run, started now on the ledger's clock; nothing where its id is taken or another run is open.
_ADD = """
    INSERT INTO _migration_runs
        (id, revision, direction, status, dag_id, dag_run_id, called_by, parent, checksum, params,
         backed_up, source_run, error, epoch, facts, started_at, ended_at)
    VALUES (%(id)s, %(revision)s, %(direction)s, %(status)s, %(dag_id)s, %(dag_run_id)s, %(called_by)s,
            %(parent)s, %(checksum)s, %(params)s::jsonb, %(backed_up)s, %(source_run)s, %(error)s, %(epoch)s,
            %(facts)s::jsonb, clock_timestamp(),
            CASE WHEN %(status)s::text = 'open' THEN NULL ELSE clock_timestamp() END)
    ON CONFLICT DO NOTHING
"""
# Who works for a run, kept when somebody else takes it over.
_CALLED = """
    INSERT INTO _migration_callers (dag_id, dag_run_id, run_id) VALUES (%s, %s, %s)
    ON CONFLICT (dag_id, dag_run_id, run_id) DO UPDATE SET at = clock_timestamp()
"""
# A revision's row, or its words and checksum anew while it is not in the databases.
_REGISTER = """
    INSERT INTO _migrations (id, description, storage_type, status, checksum, down_revision)
    VALUES (%(id)s, %(description)s, %(storage_type)s, 'pending', %(checksum)s, %(down_revision)s)
    ON CONFLICT (id) DO UPDATE SET
        description = excluded.description, storage_type = excluded.storage_type,
        checksum = excluded.checksum, down_revision = excluded.down_revision, updated_at = clock_timestamp()
    WHERE _migrations.status IN ('pending', 'rolled_back')
      AND (_migrations.description, _migrations.storage_type, _migrations.checksum, _migrations.down_revision)
          IS DISTINCT FROM
          (excluded.description, excluded.storage_type, excluded.checksum, excluded.down_revision)
"""

# The file of an applied revision, as a person has seen and accepted it.
_ACCEPT = "UPDATE _migrations SET checksum = %s, updated_at = clock_timestamp() WHERE id = %s AND status = 'applied'"

#: field of a run → what the column is set to; times are the ledger's
_SETTERS = {
    "status": "status = %(status)s",
    "ended_at": "ended_at = CASE WHEN %(ended_at)s::timestamptz IS NULL THEN NULL ELSE clock_timestamp() END",
    "error": "error = %(error)s",
    "backed_up": "backed_up = %(backed_up)s",
    "source_run": "source_run = %(source_run)s",
    "epoch": "epoch = %(epoch)s",
    "checksum": "checksum = %(checksum)s",
    "params": "params = %(params)s::jsonb",
    "facts": "facts = facts || %(facts)s::jsonb",
    "caller": "dag_id = %(dag_id)s, dag_run_id = %(dag_run_id)s,"
    " called_by = %(called_by)s, parent = %(parent)s",
}
#: where a change of status says nothing of the end: an open run has none, another keeps or gets one
_END_FOLLOWS = (
    "ended_at = CASE WHEN %(status)s::text = 'open' THEN NULL ELSE coalesce(ended_at, clock_timestamp()) END"
)


def revisions(db: Db) -> dict[str, RevisionState]:
    return {row["id"]: revision_of(row) for row in db.execute(_REVISIONS)}


def register(db: Db, state: RevisionState) -> None:
    """Add a revision as pending; refresh one whose effects are in no database."""
    db.execute(
        _REGISTER,
        {
            "id": state.id,
            "description": state.description,
            "storage_type": state.storage_type,
            "checksum": state.checksum,
            "down_revision": state.down_revision,
        },
    )


def accept_checksum(db: Db, revision: str, checksum: str) -> None:
    """Let an applied revision's file have this checksum; Refused for one that is not applied."""
    if db.execute(_ACCEPT, [checksum, revision]).rowcount == 0:
        raise Refused(f"revision {revision!r} is not applied: there is nothing to accept.", revision=revision)


def run(db: Db, run_id: str) -> Run:
    """Return a run; Refused for an id that the ledger does not know."""
    row = db.execute(_RUN, [run_id]).fetchone()
    if row is None:
        raise unknown_run(run_id)
    return run_of(row)


def open_run(db: Db) -> Run | None:
    row = db.execute(_OPEN).fetchone()
    return None if row is None else run_of(row)


def run_of_caller(db: Db, dag_id: str, dag_run_id: str) -> Run | None:
    row = db.execute(_OF_CALLER, [dag_id, dag_run_id]).fetchone()
    return None if row is None else run_of(row)


def latest(db: Db, revision: str | None, limit: int) -> list[Run]:
    return [run_of(row) for row in db.execute(_LATEST, {"revision": revision, "limit": limit})]


def add_run(db: Db, added: Run) -> None:
    """Insert a run; Refused, naming it, where another is open or the id is taken."""
    values = {
        "id": added.id,
        "revision": added.revision,
        "direction": added.direction,
        "status": added.status.value,
        "checksum": added.checksum,
        "params": dumps(added.params),
        "backed_up": added.backed_up,
        "source_run": added.source_run,
        "error": error_text(added.error),
        "epoch": added.epoch,
        "facts": dumps(added.facts),
        **_caller(added.caller),
    }
    if db.execute(_ADD, values).rowcount == 0:
        raise _two_open(db, added.id)
    db.execute(_CALLED, [added.caller.dag_id, added.caller.dag_run_id, added.id])


def change_run(db: Db, run_id: str, changes: Mapping[str, Any]) -> Run:
    """Change fields of a run and return it."""
    unknown = sorted(set(changes) - set(_SETTERS))
    if unknown:
        raise TypeError(f"a run has no changeable field {', '.join(unknown)}")
    if not changes:
        return run(db, run_id)
    setters = [_SETTERS[name] for name in changes]
    if "status" in changes and "ended_at" not in changes:
        setters.append(_END_FOLLOWS)
    statement = f"UPDATE _migration_runs SET {', '.join(setters)} WHERE id = %(id)s RETURNING *"
    try:
        # A savepoint, so that the answer to a second open run can be read in the same transaction.
        with db.transaction():
            row = db.execute(statement, {"id": run_id, **_values(changes)}).fetchone()
    except pg.UniqueViolation as error:
        raise _two_open(db, run_id) from error
    if row is None:
        raise unknown_run(run_id)
    if "caller" in changes:
        db.execute(_CALLED, [row["dag_id"], row["dag_run_id"], run_id])
    return run_of(row)


def unknown_run(run_id: str) -> Refused:
    return Refused(f"the ledger knows no run {run_id!r}. Look up its id in _migration_runs.", run=run_id)


def _values(changes: Mapping[str, Any]) -> dict[str, Any]:
    values = dict(changes)
    for name in ("params", "facts"):
        if name in values:
            values[name] = dumps(values[name])
    if "status" in values:
        values["status"] = RunStatus(values["status"]).value
    if "error" in values:
        values["error"] = error_text(values["error"])
    if "caller" in values:
        values |= _caller(values.pop("caller"))
    return values


def _caller(caller: Caller) -> dict[str, Any]:
    return {
        "dag_id": caller.dag_id,
        "dag_run_id": caller.dag_run_id,
        "called_by": caller.by,
        "parent": caller.parent,
    }


def _two_open(db: Db, run_id: str) -> Refused:
    held = open_run(db)
    if held is None or held.id == run_id:
        return Refused(f"the ledger has a run {run_id!r} already. Give the new one its own id.", run=run_id)
    holder = f"{held.caller.dag_id} / {held.caller.dag_run_id}"
    return Refused(
        f"run {run_id!r} cannot be open: run {held.id!r} ({held.direction} of {held.revision!r}, {holder}) "
        "is. One run at a time: wait for it to end, or finish it.",
        run=run_id,
        open_run=held.id,
    )
