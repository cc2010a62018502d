"""Plan a restore: what goes where, what it overwrites, what becomes of the revisions, and what speaks against it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import cast

from lockstep.domain.backups import StoredBackup
from lockstep.domain.chain import Chain
from lockstep.domain.errors import Refused
from lockstep.domain.resources import Touched
from lockstep.domain.revision import Revision
from lockstep.domain.run import Caller, RevisionState, Run
from lockstep.domain.status import UNSETTLED, Status
from lockstep.engine.opening import register_chain
from lockstep.engine.restoring.choosing import restorable
from lockstep.engine.restoring.coverage import overlapping
from lockstep.engine.restoring.fates import after_restore
from lockstep.engine.restoring.plan import RestorePlan, Target
from lockstep.engine.restoring.targeting import targets_of
from lockstep.engine.restoring.work import has_begun
from lockstep.engine.services import Services


def plan_restore(
    services: Services,
    chain: Chain,
    *,
    backup: str,
    only: Sequence[str] = (),
    into: Mapping[str, str] | None = None,
    reconcile: bool = True,
    alive: Callable[[Caller], bool] = lambda caller: False,
) -> RestorePlan:
    """Return what putting a backup back would do; nothing is changed. `RestorePlan.refuse` raises what forbids it.

    `backup`: the run whose backup it is. `only`: connections, resources, or "connection:resource"; empty for
    all. `into`: connection of the backup → connection where it goes instead. `reconcile`: whether the ledger is
    to say afterwards what is so; it does only where the whole backup goes back to where it came from. Raises
    Refused for a backup that is not there, and for names that it does not hold.
    """
    services.ledger.check()
    stored = _stored(services, backup)
    run = services.ledger.run(backup)
    with services.ledger.unit() as unit:
        states = register_chain(unit, chain)
        held = unit.open_run()
    targets = targets_of(services, chain, run, stored, only, into or {})
    plan = _Planning(services, chain, run, stored, targets, states, held, reconcile=reconcile, alive=alive)
    return plan.made()


class _Planning:
    """Gathers what a plan says, part by part."""

    def __init__(
        self,
        services: Services,
        chain: Chain,
        run: Run,
        stored: Sequence[StoredBackup],
        targets: tuple[Target, ...],
        states: Mapping[str, RevisionState],
        held: Run | None,
        *,
        reconcile: bool,
        alive: Callable[[Caller], bool],
    ) -> None:
        self.services = services
        self.chain = chain
        self.run = run
        self.targets = targets
        self.states = states
        self.held = held
        self.alive = alive
        everything = {one.manifest.conn_id for one in stored} == {target.source.conn_id for target in targets}
        #: the whole backup goes back to where it came from
        self.whole = everything and all(target.whole and target.in_place for target in targets)
        self.reconciles = reconcile and self.whole
        self.problems: list[str] = [
            f"{one.manifest.conn_id} cannot be read: {one.problem}. Mend the vault and let housekeeping look again, "
            "or leave it out."
            for one in stored
            if one.problem and any(target.manifest.path == one.manifest.path for target in targets)
        ]
        self.remarks: list[str] = []
        self.closes: list[str] = []

    def made(self) -> RestorePlan:
        bare = self.bare()
        carried = self.carried_on(bare)
        wanted = after_restore(self.services, self.chain, self.run, self.states, self.targets)
        if self.reconciles:
            self.problems += wanted.problems
        elif self.whole:
            self.remarks += [f"reconcile is off, and afterwards {told}" for told in wanted.misfits]
        else:
            self.look_at_parts()
        self.look_at_failures()
        if self.reconciles:
            self.remarks += wanted.remarks
        return RestorePlan(
            backup=bare.backup,
            revision=bare.revision,
            checksum=bare.checksum,
            before=bare.before,
            targets=self.targets,
            fates=wanted.fates if self.reconciles else (),
            statuses={state.id: state.status for state in self.states.values()},
            closes=tuple(dict.fromkeys(self.closes)),
            carries_on=carried,
            reconciles=self.reconciles,
            problems=tuple(dict.fromkeys(self.problems)),
            remarks=tuple(dict.fromkeys(self.remarks)),
        )

    def bare(self) -> RestorePlan:
        when = max(target.manifest.taken_at for target in self.targets)
        what = "a restore" if self.run.direction == "restore" else f"the {self.run.direction}"
        return RestorePlan(
            backup=self.run.id,
            revision=self.run.revision,
            checksum=self.run.checksum,
            before=f"before {what} of {self.run.revision}, {when:%Y-%m-%d %H:%M:%S} UTC",
            targets=self.targets,
        )

    def carried_on(self, plan: RestorePlan) -> str | None:
        """Look at the run that is open, if any; return it where it is this very restore, interrupted."""
        held = self.held
        if held is None:
            return None
        holder = f"{held.caller.dag_id} / {held.caller.dag_run_id}"
        if self.alive(held.caller) and not self.services.ledger.silent(held.id):
            self.problems.append(
                f"run {held.id} ({holder}) holds the chain: one run at a time. Wait for it to end, or mark its DAG "
                "run failed, then trigger this again."
            )
            return None
        if held.direction == "restore":
            if plan.same_work(held.facts):
                return held.id
            self.look_at_interrupted(held)
        self.closes.append(held.id)
        return None

    def look_at_interrupted(self, held: Run) -> None:
        """Refuse to leave behind another restore that has overwritten a part, unless this one goes over all of it."""
        if not has_begun(held):
            return
        ours = {(target.into.conn_id, slug) for target in self.targets for slug in _slugs(target.resources)}
        theirs = {
            (target["into"]["conn_id"], one.get("name", "*"))
            for target in held.facts.get("targets", ())
            for one in target["resources"]
        }
        left = sorted(f"{conn_id} {slug}" for conn_id, slug in theirs - ours if (conn_id, "*") not in ours)
        if left:
            self.problems.append(
                f"restore {held.id} was interrupted, and {', '.join(left)} may be half-way. Trigger restore with "
                f"backup = {held.facts.get('backup')!r} as it was to finish it, or with backup = {held.id!r} to put "
                "back what it had overwritten."
            )

    def look_at_parts(self) -> None:
        """Say which applied revisions do not fit to what goes back, where only a part does."""
        if not any(target.in_place for target in self.targets):
            return
        for revision in self.after():
            shared = overlapping(revision, self.targets)
            if shared and self.states[revision.id].status is Status.APPLIED:
                self.remarks.append(
                    f"revision {revision.id} stays applied, and {', '.join(shared)} is then as it was before it."
                )

    def after(self) -> tuple[Revision, ...]:
        """Return the revisions whose effects the backup may lack."""
        ids = [revision.id for revision in self.chain.revisions]
        if self.run.revision not in ids:
            return self.chain.revisions
        place = ids.index(self.run.revision)
        return self.chain.revisions[place + (self.run.direction == "downgrade") :]

    def look_at_failures(self) -> None:
        """See what becomes of runs that failed and whose resources are restored."""
        if not any(target.in_place for target in self.targets):
            return
        for state in self.states.values():
            if state.status not in UNSETTLED or state.last_run is None:
                continue
            revision = next((one for one in self.chain.revisions if one.id == state.id), None)
            if self.reconciles:
                self.closes.append(state.last_run)
            elif revision is not None and overlapping(revision, self.targets):
                self.closes.append(state.last_run)
                self.stays_failed(state, revision)

    def stays_failed(self, state: RevisionState, revision: Revision) -> None:
        """Say how a revision that stays failed is settled afterwards, or that it cannot be."""
        failed = self.services.ledger.run(cast(str, state.last_run))
        if failed.direction == "upgrade":
            self.remarks.append(
                f"revision {state.id} stays {state.status}. Trigger {revision.dag_id} with resume = true afterwards: "
                "it takes the rest back, and compares everything with the backup."
            )
        else:
            self.problems.append(
                f"the downgrade of {state.id} ({failed.id}) was left half-way, and could not go on behind this. "
                f"Put its whole backup back: backup = {failed.id!r}, with reconcile."
            )


def _slugs(resources: Sequence[Touched]) -> list[str]:
    return ["*" if resource.slug == "*" else resource.name for resource in resources]  # type: ignore[union-attr]


def _stored(services: Services, backup: str) -> list[StoredBackup]:
    stored = services.ledger.stored_backups(run_id=backup)
    if stored:
        return sorted(stored, key=lambda one: one.manifest.conn_id)
    if services.ledger.stored_backups(run_id=backup, removed=True):
        raise Refused(
            f"the backup of run {backup} was removed from the vault when its time was over. Choose another: the "
            "page of backups lists those that are there.",
            backup=backup,
        )
    known = [choice.run_id for choice in restorable(services)[:3]]
    hint = f" The latest are: {', '.join(known)}." if known else " There is none yet."
    raise Refused(
        f"there is no backup of a run {backup!r}. Give the id of a run, as its log and the page of backups name "
        f"it.{hint}",
        backup=backup,
    )
