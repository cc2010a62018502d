"""Put one database of a backup where it goes, and compare it with the manifest there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from lockstep.domain.errors import BackupNotProven, Refused, VerificationFailed
from lockstep.domain.exchange import Adopted
from lockstep.domain.progress import Fingerprint
from lockstep.domain.resources import Everything, Postgres, Touched
from lockstep.domain.run import Run
from lockstep.engine.backup import fingerprints
from lockstep.engine.lease import kept
from lockstep.engine.ports import LedgerUnit
from lockstep.engine.putting_back import put_back_database
from lockstep.engine.restoring.plan import Work
from lockstep.engine.restoring.work import restoring, works
from lockstep.engine.services import Services


def restore_database(services: Services, run: Run, place: int) -> dict[str, Any]:
    """Make one database of a restore what its backup holds; return what that took. Done before, it says so.

    `place`: which of the restore's databases. Starts only when all that is overwritten is backed up and proven.
    Interrupted, it can be done again. Raises BackupNotProven, with nothing changed, for a backup that is not what it
    should be, and VerificationFailed where something differs at the end.
    """
    run = restoring(services, run)
    work = works(services, run)[place]
    done = run.facts.get(work.done_mark)
    if done:
        services.log.info(f"{work.label} is back already: an earlier attempt did it")
        return {"skipped": "it is back already"}
    _refuse_unproven(services, run)
    with kept(services, run):
        adopted = _put(services, run, work)
        services.reached("database put back")
        # A worker that another DAG run has taken over stops here at the latest.
        services.ledger.heartbeat(run.id, run.epoch, services.settings.lease_seconds)
        _refuse_different(services, run, work)
    facts = {
        "written": adopted.written,
        "removed": adopted.removed,
        "reshaped": list(adopted.reshaped),
    }
    with services.ledger.unit() as unit:
        unit.change_run(run.id, facts={work.done_mark: facts})
    services.reached("database restored")
    services.log.info(f"{work.label} is what it was when it was backed up", **facts)
    return facts


def _put(services: Services, run: Run, work: Work) -> Adopted:
    """Load an empty PostgreSQL database, with all that the archive holds; anything else takes over what differs."""
    if not isinstance(work.into, Postgres) or work.in_place or not work.whole:
        return _take_over(services, run, work, work.resources)
    tables = services.tables(work.into)
    if run.facts.get(work.loading_mark):
        # An attempt that was cut off may have left a part of the archive.
        return _take_over(services, run, work, [Everything(work.into)])
    if tables.tables():
        return _take_over(services, run, work, work.resources)
    services.log.info(f"loading {work.label}, which is empty")
    _begin(services, run, {work.begun_mark: True, work.loading_mark: True})
    tables.load(work.manifest.files, services.vault.read)
    return Adopted(written=sum(held.count for held in work.manifest.fingerprints.values()))


def _take_over(services: Services, run: Run, work: Work, resources: Sequence[Touched]) -> Adopted:
    """Let the database take over what differs; where that is refused, the run has not begun there after all."""
    try:
        return put_back_database(
            services,
            work.into,
            work.manifest,
            resources,
            begin=lambda: _begin(services, run, {work.begun_mark: True}),
        )
    except (Refused, BackupNotProven):
        # Both mean that nothing was changed; an earlier attempt may have.
        if not run.facts.get(work.begun_mark):
            with services.ledger.unit() as unit:
                unit.change_run(run.id, facts={work.begun_mark: False})
        raise


def _refuse_unproven(services: Services, run: Run) -> None:
    """Raise BackupNotProven unless all that the restore would overwrite, anywhere, is backed up and proven."""
    stored = services.ledger.stored_backups(run_id=run.id)
    proven = {one.manifest.conn_id for one in stored if one.proof is not None}
    for work in works(services, run):
        if work.into.conn_id not in proven:
            raise BackupNotProven(
                f"what restore {run.id} would overwrite in {work.into.conn_id} has no proven backup. Clear its task "
                "back_up.",
                conn_id=work.into.conn_id,
            )


def _begin(services: Services, run: Run, marks: Mapping[str, bool]) -> None:
    """Note that a database is about to change; runs that its data belongs to can only go back from now on."""
    stored = services.ledger.stored_backups(run_id=run.id)
    with services.ledger.unit() as unit:
        current = unit.change_run(run.id, facts=marks)
        if current.backed_up:
            return
        unit.change_run(run.id, backed_up=True)
        for closed in current.facts["closes"]:
            _only_back(services, unit, run, closed)
        unit.say(
            run.id,
            "migration.backed_up",
            {
                "revision": run.revision,
                "direction": run.direction,
                "run": run.id,
                "by": run.caller.by,
                "bytes": sum(one.manifest.size for one in stored),
                "manifests": [services.vault.uri(one.manifest.path) for one in stored],
            },
        )


def _only_back(services: Services, unit: LedgerUnit, run: Run, closed: str) -> None:
    """Let a failed upgrade whose data is put back never go on from where it stopped, but only back."""
    if unit.run(closed).direction != "upgrade":
        return
    theirs = {
        (manifest.conn_id, slug)
        for manifest in services.ledger.backups(closed)
        for slug in (*manifest.fingerprints, "*")
    }
    for work in works(services, run):
        ours = {(work.into.conn_id, resource.slug) for resource in work.resources}
        if work.in_place and ours & theirs:
            unit.change_run(closed, facts={"undoing": True})
            return


def _refuse_different(services: Services, run: Run, work: Work) -> None:
    """Raise VerificationFailed unless every resource has the fingerprint that it had when it was backed up."""
    now = fingerprints(services, work.into, work.resources)
    wrong = []
    for slug, before in wanted(work).items():
        how = now.get(slug, Fingerprint(present=False)).differs_from(before)
        if how:
            wrong.append(f"{slug}: {how}")
    wrong += [f"{slug}: it exists now and did not before" for slug in now.keys() - wanted(work).keys()]
    if wrong:
        raise VerificationFailed(
            f"{work.label} was put back, and differs from its backup: {'; '.join(wrong)}. Stop what else writes to it, "
            "then clear this task, which puts it back again.",
            run=run.id,
            resources=wrong,
        )


def wanted(work: Work) -> Mapping[str, Fingerprint]:
    """Return what each resource that is put back held when it was backed up."""
    held = work.manifest.fingerprints
    if any(isinstance(resource, Everything) for resource in work.resources):
        return held
    return {resource.slug: held[resource.slug] for resource in work.resources}
