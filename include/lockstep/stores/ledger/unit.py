"""One ledger transaction under the chain's lock."""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg import errors as pg

from lockstep.domain.approval import Approval
from lockstep.domain.errors import LockstepError, Refused, Unavailable
from lockstep.domain.run import RevisionState, Run
from lockstep.domain.status import Status, reason_for
from lockstep.domain.surroundings import Surroundings, here, without_secrets
from lockstep.stores.ledger import approvals, history, quarantine, runs
from lockstep.stores.ledger.connect import Connections, Db
from lockstep.stores.ledger.plain import dumps, error_text
from lockstep.stores.ledger.rows import revision_of

# The chain's lock: whoever has this row may change states; it ends with the transaction. Nobody waits for it
# with a transaction open: behind a pooler, those who wait would keep the server's connections from the one who
# has it, and who may need another to finish.
_LOCK = "SELECT last_id FROM _migration_chain FOR UPDATE NOWAIT"
# Seconds between two looks whether it is free, at least and at most.
_LOOK_AGAIN = (0.01, 0.1)
# The sessions that keep others out: they hold a row lock on the chain and wait for none.
_HOLDER = """
    SELECT a.pid, a.application_name, a.usename, host(a.client_addr) AS client, a.state,
           extract(epoch FROM clock_timestamp() - a.xact_start)::int AS seconds
    FROM pg_locks l JOIN pg_stat_activity a USING (pid)
    WHERE l.relation = 'public._migration_chain'::regclass AND l.granted AND l.mode = 'RowShareLock'
      AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
      AND a.wait_event_type IS DISTINCT FROM 'Lock' AND a.pid <> pg_backend_pid()
    ORDER BY a.xact_start LIMIT 1
"""
# A revision's row.
_REVISION = "SELECT * FROM _migrations WHERE id = %s"
# A revision on its way; the checksum is the one of the run that upgrades it.
_MOVE = """
    UPDATE _migrations SET
        status = %(status)s,
        last_run = %(run)s,
        updated_at = %(at)s,
        checksum = CASE WHEN %(status)s = 'upgrading' THEN %(checksum)s ELSE checksum END,
        applied_at = CASE WHEN %(status)s = 'applied' THEN %(at)s ELSE applied_at END,
        -- Trying again what was left, or putting a backup back, does not make it another application.
        applied_run = CASE WHEN %(status)s = 'applied' THEN coalesce(%(source)s::text, %(run)s) ELSE applied_run END,
        rollback_at = CASE %(status)s WHEN 'rolled_back' THEN %(at)s WHEN 'applied' THEN NULL
                      ELSE rollback_at END,
        error_message = CASE WHEN %(error)s::text IS NOT NULL THEN %(error)s
                             WHEN %(status)s IN ('upgrading', 'applied') THEN NULL
                             ELSE error_message END
    WHERE id = %(id)s
"""
# An event that leaves when this transaction has committed.
_SAY = """
    INSERT INTO _migration_outbox (event_id, run_id, label, data, at)
    VALUES (%s, %s, %s, %s::jsonb, clock_timestamp())
"""


@contextmanager
def unit(connections: Connections, surroundings: Surroundings | None = None) -> Iterator[PostgresLedgerUnit]:
    """Open a unit; Unavailable, naming who holds the chain, where the lock does not come in time.

    `surroundings`: what each entry says of where it was written.
    """
    until = time.monotonic() + connections.lock_timeout
    while True:
        with connections.transaction() as db:
            if _locked(db):
                yield PostgresLedgerUnit(db, surroundings)
                return
        if time.monotonic() >= until:
            raise _held(connections)
        time.sleep(random.uniform(*_LOOK_AGAIN))  # noqa: S311 - jitter


def _locked(db: Db) -> bool:
    """Take the chain's lock; False, and the transaction is over, where somebody else has it."""
    try:
        locked = db.execute(_LOCK).fetchone()
    except pg.LockNotAvailable:
        db.rollback()
        return False
    if locked is None:
        raise LockstepError("the ledger has lost the row of _migration_chain. Restore the ledger.")
    return True


def _held(connections: Connections) -> Unavailable:
    with connections.transaction() as db:
        holder = db.execute(_HOLDER).fetchone()
        held = runs.open_run(db)
    who = "a session that has ended since"
    if holder is not None:
        who = (
            f"{holder['application_name'] or 'a session without a name'} (server process {holder['pid']}, "
            f"{holder['usename']} from {holder['client'] or 'the server itself'}, {holder['state']}, "
            f"{holder['seconds']} s in its transaction)"
        )
    open_run = "no run is open" if held is None else f"run {held.id} is open"
    return Unavailable(
        f"the ledger's chain ({connections.conn_id}, {connections.address}) was not free within "
        f"{connections.lock_timeout:g} s: {who} holds it; {open_run}. Try again; if it stays so, "
        "end that process.",
        conn_id=connections.conn_id,
        pid=None if holder is None else holder["pid"],
        open_run=None if held is None else held.id,
    )


class PostgresLedgerUnit:
    """State, history and outbox, changed together."""

    def __init__(self, db: Db, surroundings: Surroundings | None = None) -> None:
        self._db = db
        self._surroundings = here() if surroundings is None else surroundings

    @property
    def db(self) -> Db:
        """The transaction itself, for the ledger's own modules."""
        return self._db

    def revisions(self) -> dict[str, RevisionState]:
        return runs.revisions(self._db)

    def open_run(self) -> Run | None:
        return runs.open_run(self._db)

    def run(self, run_id: str) -> Run:
        return runs.run(self._db, run_id)

    def add_run(self, run: Run) -> None:
        """Add a run, started now on the ledger's clock; Refused where another is open."""
        runs.add_run(self._db, run)

    def change_run(self, run_id: str, **changes: Any) -> Run:
        """Change fields of a run; `facts` merges, and `ended_at` becomes the ledger's own time."""
        return runs.change_run(self._db, run_id, changes)

    def register(self, state: RevisionState) -> None:
        runs.register(self._db, state)

    def set_status(
        self,
        revision: str,
        wanted: Status,
        *,
        run_id: str,
        reason: str | None = None,
        error: str | None = None,
        applied_run: str | None = None,
    ) -> None:
        """Walk one edge and append it to the history; Refused, with nothing written, where there is none."""
        row = self._db.execute(_REVISION, [revision]).fetchone()
        if row is None:
            raise Refused(
                f"the ledger knows no revision {revision!r}. Open a run with its file first.",
                revision=revision,
            )
        current = revision_of(row).status
        usual = reason_for(revision, current, wanted)
        run = self.run(run_id)
        kept = error_text(error)
        at = self.append(
            history.Entry(
                kind="status",
                who=_who(run),
                revision=revision,
                run_id=run_id,
                from_status=current.value,
                to_status=wanted.value,
                reason=reason or usual,
                detail={"params": run.params} | ({} if kept is None else {"error": kept}),
            ),
            run,
        )
        source = applied_run or (run.source_run if run.direction == "upgrade" else None)
        values = {"id": revision, "status": wanted.value, "run": run_id, "error": kept}
        self._db.execute(_MOVE, {**values, "at": at, "checksum": run.checksum, "source": source})

    def accept_checksum(self, revision: str, checksum: str) -> None:
        """Let an applied revision's file have this checksum; Refused for one that is not applied."""
        runs.accept_checksum(self._db, revision, checksum)

    def resolve(self, run_id: str, by: str) -> int:
        """Mark the records that `run_id` left as the run `by`'s, which carried them or lists them itself."""
        return quarantine.resolve(self._db, run_id, by)

    def note(
        self, run_id: str | None, kind: str, detail: Mapping[str, Any], *, who: str | None = None
    ) -> None:
        """Append an entry that is no status change; `who` did it, unless it was who asked for the run."""
        run = None if run_id is None else self.run(run_id)
        revision = None if run is None else run.revision
        entry = history.Entry(
            kind=kind, who=who or _who(run), revision=revision, run_id=run_id, detail=detail
        )
        self.append(entry, run)

    def append(self, entry: history.Entry, run: Run | None) -> datetime:
        """Append an entry with what every entry says; return its time on the ledger's clock.

        Of its run: which way, by which Airflow run, the code's checksum. Of here: versions, host, the task and its log.
        What the entry says itself comes before that, and no secret is kept.
        """
        usual = _of_run(run) | self._surroundings.facts(ledger=_server(self._db))
        reason = without_secrets(entry.reason)
        detail = without_secrets({**usual, **entry.detail})
        return history.append(self._db, replace(entry, reason=reason, detail=detail))

    def add_approval(self, approval: Approval) -> Approval:
        """Keep an approval, given now on the ledger's clock; return it as it is kept."""
        return approvals.add(self._db, approval)

    def void_approval(self, approval_id: int, why: str) -> bool:
        """Let an approval count no more; return whether it did until now."""
        return approvals.void(self._db, approval_id, why)

    def say(self, run_id: str, label: str, data: Mapping[str, Any]) -> str:
        """Put an event into the outbox."""
        event_id = str(uuid.uuid4())
        self._db.execute(_SAY, [event_id, run_id, label, dumps(data)])
        return event_id


def _who(run: Run | None) -> str:
    return (run.caller.by if run else "") or "scheduler"


def _of_run(run: Run | None) -> dict[str, Any]:
    if run is None:
        return {}
    caller = run.caller
    said = {
        "direction": run.direction,
        "checksum": run.checksum,
        "dag_run": f"{caller.dag_id} / {caller.dag_run_id}",
        "parent": caller.parent,
    }
    return {name: value for name, value in said.items() if value}


def _server(db: Db) -> str:
    """Return the ledger's server; a pooler passes on what it says at login."""
    return f"PostgreSQL {db.info.parameter_status('server_version') or db.info.server_version}"
