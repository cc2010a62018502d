"""Put backups back in place: every record and every shape as it was when it was backed up.

A backup is restored beside its database first, and compared with its manifest there: one that is not what it
should be changes nothing. Then the database takes over what differs.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from typing import Any, cast

from lockstep.domain.errors import BackupNotProven, LockTimeout, UndoFailed
from lockstep.domain.exchange import Adopted
from lockstep.domain.locking import PATIENCE
from lockstep.domain.progress import Fingerprint, Manifest
from lockstep.domain.resources import Bucket, Database, Everything, Postgres, Touched
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.engine.backup import fingerprints, touched_in
from lockstep.engine.copied import copy_of
from lockstep.engine.guard import guarded
from lockstep.engine.lease import kept
from lockstep.engine.services import Services, Store
from lockstep.engine.undo import differences

#: phases whose workers must write nothing behind a backup that was put back
_PHASES = ("upgrade", "downgrade", "undo")
#: seconds between two attempts to have the locks, at least and at most
_PAUSES = (1.0, 5.0)


def put_back(services: Services, revision: Revision, run: Run) -> dict[str, Any]:
    """Make all that the revision touches what it was when this run backed it up; note in the ledger that it is.

    Whoever still works for the run writes nothing more. Interrupted, it can be done again; done before, it says so.
    Raises BackupNotProven, with nothing changed there, for a backup that is not what it should be, and UndoFailed
    where something differs at the end.
    """
    run = guarded(services, revision, run)
    if run.facts.get("restored"):
        services.log.info("the backups are back in place: an earlier attempt did it")
        return {"skipped": "they are back already"}
    taken = {manifest.conn_id: manifest for manifest in services.ledger.backups(run.id)}
    fence_off(services, revision, run)
    facts: dict[str, Any] = {}
    with kept(services, run):
        for database in revision.databases:
            manifest = taken.get(database.conn_id)
            if manifest is None:
                raise BackupNotProven(
                    f"run {run.id} has no backup of {database.conn_id} that could be put back.",
                    conn_id=database.conn_id,
                )
            adopted = put_back_database(services, database, manifest, touched_in(revision, database))
            facts[database.conn_id] = {"written": adopted.written, "removed": adopted.removed}
            services.reached("database put back")
        differing = differences(services, revision, run.id)
    wrong = {resource: how for resource, how in differing.items() if how}
    if wrong:
        told = "; ".join(f"{resource}: {how}" for resource, how in wrong.items())
        raise UndoFailed(
            f"the backups of run {run.id} were put back, and something differs: {told}. Look what else writes to "
            "it, then clear this task to put them back again.",
            run=run.id,
            resources=sorted(wrong),
        )
    with services.ledger.unit() as unit:
        unit.note(run.id, "put_back", facts)
        unit.change_run(run.id, facts={"restored": True, "put_back": facts, "differs_from_before": []})
    services.log.info(f"everything is as it was before run {run.id}", resources=len(differing))
    return {"compared": len(differing), "databases": facts}


def put_back_database(
    services: Services,
    database: Database,
    manifest: Manifest,
    resources: Sequence[Touched],
    *,
    begin: Callable[[], None] = lambda: None,
) -> Adopted:
    """Make resources of a live database what they are in a backup; the rest of it stays. Return what that took.

    Where they are that already, nothing is restored, except for a bucket, whose fingerprints tell nothing of headers
    such as Cache-Control: of that, every object is looked at. Whoever calls sees to it that nobody else writes, and keeps
    the lease meanwhile. Interrupted, it can be done again. Raises BackupNotProven, with nothing changed, for a
    backup that is not what it should be. `begin`: called right before the first change.
    """
    if not isinstance(database, Bucket) and _as_in(services, database, manifest, resources):
        services.log.info(f"{database.conn_id} is what its backup holds: nothing is to be put back")
        return Adopted()
    with copy_of(services, database, manifest, mark=f"back_{manifest.run_id}") as copy:
        services.log.info(f"putting back {', '.join(str(one) for one in resources)}", backup=manifest.path)
        begin()
        adopted = _patiently(services, services.store(database), copy, resources)
    services.log.info(
        f"{database.conn_id}: {adopted.written} record(s) written, {adopted.removed} taken away",
        reshaped=list(adopted.reshaped),
    )
    return adopted


def fence_off(services: Services, revision: Revision, run: Run) -> None:
    """Take every shard of a run over, so that a worker thought dead cannot write any more."""
    for phase in _PHASES:
        for shard in services.ledger.shards(run.id, phase):
            fence, state = services.ledger.claim(run.id, phase, shard.step, shard.shard, "putting back")
            services.ledger.save(fence, state.progress)
            if phase != "undo":
                continue
            # The fence below lets an undo's shards through, since an undo raises it itself.
            operations = revision.upgrade[max(shard.step, 1) - 1 : max(shard.step, 1)]
            for operation in operations:
                if isinstance(operation.database, Postgres):
                    services.tables(operation.database).claim(fence)
    for database in revision.databases:
        if isinstance(database, Postgres):
            services.tables(database).fence_off(run.id, services.ledger.next_epoch())


def _as_in(services: Services, database: Database, manifest: Manifest, resources: Sequence[Touched]) -> bool:
    """Whether resources are what a backup holds already."""
    now = fingerprints(services, database, resources)
    wanted = set(now)
    if any(isinstance(resource, Everything) for resource in resources):
        wanted |= set(manifest.fingerprints)  # what is gone has no fingerprint now
    absent = Fingerprint(present=False)
    return all(
        now.get(slug, absent).differs_from(manifest.fingerprints.get(slug, absent)) is None for slug in wanted
    )


def _patiently(services: Services, live: Store, copy: Store, resources: Sequence[Touched]) -> Adopted:
    """Let a database take over what differs; where a lock is not to be had, again and again for a while."""
    until = time.monotonic() + PATIENCE
    while True:
        try:
            # The two are of one kind: the copy came from the live one.
            return cast(Any, live).adopt(copy, resources)  # type: ignore[no-any-return]
        except LockTimeout as problem:
            if time.monotonic() >= until:
                raise
            services.log.warning(f"{problem} Nothing is held meanwhile; trying again.")
        time.sleep(random.uniform(*_PAUSES))  # noqa: S311 - jitter
