"""Decide what the way down has to do, and compare what it left with what was there."""

from __future__ import annotations

from typing import Any, Literal

from lockstep.domain.errors import Refused, UndoFailed
from lockstep.domain.progress import Fingerprint
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus, Status
from lockstep.engine.backup import fingerprints, touched_in
from lockstep.engine.choosing import policy, way_after_failure
from lockstep.engine.guard import guarded
from lockstep.engine.lease import kept
from lockstep.engine.services import Services
from lockstep.engine.steps import settle

WayDown = Literal["none", "undo", "downgrade", "restore"]


def way_down(services: Services, revision: Revision, run: Run) -> WayDown:
    """Return what follows: nothing, undoing what this run's upgrade did, putting its backups back instead, or the
    downgrade that was asked for.

    Choosing to go back is recorded, so that the upgrade cannot go on behind it.
    """
    run = services.ledger.run(run.id)
    if run.status not in (RunStatus.OPEN, RunStatus.FAILED) or not run.backed_up:
        services.log.info("nothing was changed, so there is nothing to take back")
        return "none"
    if run.direction == "downgrade":
        return "downgrade"
    if run.facts.get("verified"):
        services.log.info("the upgrade is verified: nothing to take back")
        return "none"
    wanted = way_after_failure(services, run)
    if wanted == "leave":
        services.log.warning(
            "the upgrade failed, and is to be left: everything stays as it is until a person decides",
            on_failure=policy(services, run, "on_failure"),
        )
        return "none"
    with services.ledger.unit() as unit:
        if unit.revisions()[revision.id].status is not Status.ROLLING_BACK:
            unit.set_status(
                revision.id,
                Status.ROLLING_BACK,
                run_id=run.id,
                error=run.error or "the upgrade did not end well",
            )
        unit.change_run(run.id, facts={"undoing": True} | _putting_back(wanted))
    if wanted == "restore":
        services.log.warning("putting the backups of this run back", run=run.id, because=run.error)
        return "restore"
    services.log.warning("taking back what this run did", run=run.id, because=run.error)
    return "undo"


def _putting_back(wanted: str) -> dict[str, bool]:
    return {"putting_back": True} if wanted == "restore" else {}


def verify_restored(services: Services, revision: Revision, run: Run) -> dict[str, Any]:
    """Compare what the way down left with what was there before.

    After an undo every resource must have the fingerprint that it had when it was backed up; UndoFailed
    names those that differ. After a downgrade that was asked for, other data may have come since: what
    equals and what differs from before the upgrade is said.
    """
    run = guarded(services, revision, run)
    if run.facts.get("putting_back"):
        raise Refused(
            f"the backups of run {run.id} are being put back, and put_back compares them itself: clear that task.",
            run=run.id,
        )
    phase: Literal["undo", "downgrade"] = "downgrade" if run.direction == "downgrade" else "undo"
    settle(services, revision, run, phase, {})
    reference = run.source_run if phase == "downgrade" else run.id
    # A shard that failed is never done: without the lease, comparing large resources would look like silence.
    with kept(services, run):
        differing = differences(services, revision, reference) if reference else {}
    for resource, how in differing.items():
        services.log.info(f"{resource}: {how}" if how else f"{resource}: as it was before the upgrade")
    wrong = {resource: how for resource, how in differing.items() if how}
    if phase == "undo" and wrong:
        told = "; ".join(f"{resource}: {how}" for resource, how in wrong.items())
        raise UndoFailed(
            f"the undo of run {run.id} left differences: {told}. Its backup holds what was there: see "
            "docs/restore-by-hand.md.",
            run=run.id,
            resources=sorted(wrong),
        )
    with services.ledger.unit() as unit:
        unit.change_run(run.id, facts={"restored": True, "differs_from_before": sorted(wrong)})
        unit.note(run.id, "way_back_verified", {"compared": len(differing), "differing": sorted(wrong)})
    return {"compared": len(differing), "differing": sorted(wrong)}


def differences(services: Services, revision: Revision, run_id: str) -> dict[str, str | None]:
    """Return how each resource differs from what a run backed up, None where it does not."""
    found: dict[str, str | None] = {}
    manifests = {manifest.conn_id: manifest for manifest in services.ledger.backups(run_id)}
    for database in revision.databases:
        manifest = manifests.get(database.conn_id)
        if manifest is None:
            continue
        now = fingerprints(services, database, touched_in(revision, database))
        for slug in {**manifest.fingerprints, **now}:
            before = manifest.fingerprints.get(slug, Fingerprint(present=False))
            found[f"{database.conn_id} {slug}"] = now.get(slug, Fingerprint(present=False)).differs_from(
                before
            )
    return found
