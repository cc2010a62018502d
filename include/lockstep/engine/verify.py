"""Verify an upgrade: what the revision declares, and what needs no declaration. Everything is read again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from lockstep.domain.errors import VerificationFailed
from lockstep.domain.operations.base import Operation
from lockstep.domain.operations.copy import Copy
from lockstep.domain.operations.drop_collection import DropCollection
from lockstep.domain.operations.drop_objects import DropObjects
from lockstep.domain.operations.drop_table import DropTable
from lockstep.domain.operations.move_objects import MoveObjects
from lockstep.domain.operations.run_python import RunPython
from lockstep.domain.operations.sql import Sql
from lockstep.domain.operations.sql_outside_transaction import SqlOutsideTransaction
from lockstep.domain.progress import Fingerprint, Progress
from lockstep.domain.resources import Everything, Prefix, Resource, Touched
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.engine.backup import fingerprints
from lockstep.engine.expectations import check, refuse
from lockstep.engine.guard import guarded
from lockstep.engine.services import Services
from lockstep.engine.steps import total

_OPAQUE = (Sql, SqlOutsideTransaction, RunPython)
_CHANGES_KEYS = ("insert_rows", "insert_documents", "copy", "move_objects", "drop_objects")


def verify(services: Services, revision: Revision, run: Run) -> dict[str, Any]:
    """Raise VerificationFailed unless the data is what the upgrade promises; note in the ledger that it is."""
    run = guarded(services, revision, run)
    with services.log.group("declared expectations"):
        left = _left(services, run)
        for expectation in revision.expectations:
            refuse(expectation, check(services, expectation, left=left))
            services.log.info(f"holds: {expectation.describe()}")
    with services.log.group("records neither lost nor invented"):
        accounted = _account(services, revision, run)
    copies = _copies(run)
    for facts in copies.values():
        if (facts["source_count"], facts["source_hash"]) != (facts["target_count"], facts["target_hash"]):
            raise VerificationFailed(
                "a copy's source and target differ; clear its task to compare them again."
            )
    with services.ledger.unit() as unit:
        unit.change_run(run.id, facts={"verified": True})
        unit.note(run.id, "verified", {"expectations": len(revision.expectations), "accounted": accounted})
    services.log.info(
        f"verified: {len(revision.expectations)} expectation(s), {accounted} resource(s) accounted for, "
        f"{sum(facts['source_count'] for facts in copies.values())} copied record(s) compared"
    )
    return {"expectations": len(revision.expectations), "accounted": accounted}


def _left(services: Services, run: Run) -> dict[tuple[str, str], list[str]]:
    """Return the places of records that this run left as they were, by resource."""
    left: dict[tuple[str, str], list[str]] = defaultdict(list)
    for one in services.ledger.quarantined(run.id):
        left[one.conn_id, one.resource].append(one.record.key)
    return left


def _copies(run: Run) -> dict[str, dict[str, Any]]:
    return {name: facts for name, facts in run.facts.items() if name.startswith("copy.upgrade.")}


@dataclass(frozen=True, kw_only=True)
class Account:
    """How a revision should change the number of a resource's records."""

    change: int = 0
    keys_stay: bool = True
    gone: bool = False
    opaque: bool = False


def _account(services: Services, revision: Revision, run: Run) -> int:
    before: dict[tuple[str, str], Fingerprint] = {}
    for manifest in services.ledger.backups(run.id):
        for slug, held in manifest.fingerprints.items():
            before[manifest.conn_id, slug] = held
    accounts = _accounts(services, revision, run)
    checked = 0
    for resource, account in accounts.items():
        known = before.get((resource.database.conn_id, resource.slug))
        if account.opaque or known is None:
            services.log.info(f"{resource}: changed by statements of the revision's own, not accounted for")
            continue
        now = fingerprints(services, resource.database, [resource], keys_only=True)[resource.slug]
        _compare(resource, account, known, now)
        services.log.info(f"{resource}: {known.count} record(s) before, {now.count} now, as it should be")
        checked += 1
    return checked


def _compare(resource: Touched, account: Account, before: Fingerprint, now: Fingerprint) -> None:
    if account.gone:
        if now.present and now.count:
            raise VerificationFailed(f"{resource} was dropped and is still there with {now.count} record(s).")
        return
    wanted = before.count + account.change
    if now.count != wanted:
        word = "lost" if now.count < wanted else "invented"
        raise VerificationFailed(
            f"{resource}: {abs(now.count - wanted)} record(s) were {word}: {before.count} before, {wanted} expected, "
            f"{now.count} now. Look what else writes to it.",
            resource=str(resource),
        )
    if account.keys_stay and before.present and now.keys != before.keys:
        raise VerificationFailed(
            f"{resource}: as many records as before, but with other keys. Look what else writes to it.",
            resource=str(resource),
        )


def _accounts(services: Services, revision: Revision, run: Run) -> dict[Resource, Account]:
    """Return what each resource should have come to, from what each step says it did."""
    opaque_databases = set()
    parts: dict[Resource, list[Account]] = defaultdict(list)
    shards = services.ledger.shards(run.id, "upgrade")
    whole = revision.is_atomic("upgrade")
    for step, operation in enumerate(revision.upgrade, 1):
        done = total([shard for shard in shards if shard.step == step])
        for resource in operation.writes:
            if isinstance(resource, Everything):
                opaque_databases.add(resource.database)
            else:
                parts[resource].append(_part(operation, resource, done, whole))
    return {
        resource: _sum(listed, resource.database in opaque_databases or _overlaps(resource, parts))
        for resource, listed in parts.items()
    }


def _overlaps(resource: Resource, others: Iterable[Resource]) -> bool:
    """Whether another prefix that is written lies inside this one, or around it."""
    return isinstance(resource, Prefix) and any(
        isinstance(other, Prefix)
        and other != resource
        and other.database == resource.database
        and (other.name.startswith(resource.name) or resource.name.startswith(other.name))
        for other in others
    )


def _part(operation: Operation, resource: Resource, done: Progress, whole: bool) -> Account:
    if isinstance(operation, _OPAQUE) or (whole and operation.verb in _CHANGES_KEYS):
        # In one transaction only the sum of all steps is known, not each step's share.
        return Account(opaque=True)
    if isinstance(operation, (DropTable, DropCollection)):
        return Account(gone=True)
    if isinstance(operation, MoveObjects):
        return _moved(operation, resource, done)
    if isinstance(operation, DropObjects):
        return Account(change=-done.written, keys_stay=False)
    if isinstance(operation, Copy) or operation.verb.startswith("insert_"):
        return Account(change=done.inserted, keys_stay=done.inserted == 0)
    return Account()


def _moved(operation: MoveObjects, resource: Resource, done: Progress) -> Account:
    if operation.prefix == operation.to:
        return Account(keys_stay=False)
    return Account(change=-done.written if resource == operation.prefix else done.written, keys_stay=False)


def _sum(parts: list[Account], opaque: bool) -> Account:
    return Account(
        change=sum(part.change for part in parts),
        keys_stay=all(part.keys_stay for part in parts),
        gone=any(part.gone for part in parts),
        opaque=opaque or any(part.opaque for part in parts),
    )
