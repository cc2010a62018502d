"""Approvals, read and written inside a transaction that somebody else opened."""

from __future__ import annotations

from dataclasses import asdict

from lockstep.domain.approval import Approval
from lockstep.stores.ledger.connect import Db
from lockstep.stores.ledger.plain import text
from lockstep.stores.ledger.rows import approval_of

# An approval, given now on the ledger's clock.
_ADD = """
    INSERT INTO _migration_approvals (
        revision, direction, checksum, plan_sha256, rehearsal_id, report_sha256, environment, policy, approved_by,
        dag_id, dag_run_id
    ) VALUES (
        %(revision)s, %(direction)s, %(checksum)s, %(plan_sha256)s, %(rehearsal_id)s, %(report_sha256)s,
        %(environment)s, %(policy)s, %(by)s, %(dag_id)s, %(dag_run_id)s
    ) RETURNING *
"""
# One that counts no more.
_VOID = """
    UPDATE _migration_approvals SET voided_at = clock_timestamp(), voided_why = %(why)s
    WHERE id = %(id)s AND voided_at IS NULL
"""
# Approvals of a revision, or all of them; the latest first.
_READ = """
    SELECT * FROM _migration_approvals WHERE %(revision)s::text IS NULL OR revision = %(revision)s
    ORDER BY id DESC LIMIT 1000
"""


def add(db: Db, approval: Approval) -> Approval:
    """Keep an approval; return it as it is kept."""
    given = {
        **asdict(approval.mark),
        "environment": approval.environment,
        "policy": approval.policy,
        "by": text(approval.by),
        "dag_id": approval.dag_id,
        "dag_run_id": approval.dag_run_id,
    }
    row = db.execute(_ADD, given).fetchone()
    assert row is not None
    return approval_of(row)


def void(db: Db, approval_id: int, why: str) -> bool:
    """Let an approval count no more; return whether it did until now."""
    return db.execute(_VOID, {"id": approval_id, "why": text(why)}).rowcount == 1


def read(db: Db, revision: str | None) -> list[Approval]:
    return [approval_of(row) for row in db.execute(_READ, {"revision": revision})]
