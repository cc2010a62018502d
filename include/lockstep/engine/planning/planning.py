"""Put a plan together: the hops of a route, each with all that is known of it before it runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

from lockstep.domain.approval import Allowed, Standing
from lockstep.domain.chain import Chain
from lockstep.domain.linting.finding import Finding, Severity
from lockstep.domain.plan import (
    Check,
    Plan,
    PlannedBackup,
    PlannedOperation,
    PlannedRevision,
    digest_of,
    lock_of,
)
from lockstep.domain.revision import Direction, Revision
from lockstep.engine.approving import allowed
from lockstep.engine.backup import touched_in
from lockstep.engine.linting import lint
from lockstep.engine.planning.rehearsed import Rehearsals
from lockstep.engine.planning.sizes import Look, Sizes
from lockstep.engine.readiness import readiness
from lockstep.engine.routing import Hop
from lockstep.engine.services import Services

_NOBODY = Allowed(state=Standing.NOT_NEEDED)


def make_plan(
    services: Services,
    chain: Chain,
    hops: Sequence[Hop],
    *,
    target: str,
    direction: Direction,
    look: Look,
    checks: Sequence[Check] = (),
    url: Callable[[str], str] | None = None,
) -> Plan:
    """Return what a route comes to. Reads only.

    `look`: opens what looks at a database. `url`: where the report of a rehearsal is shown. Raises Refused for a
    rehearsal's report that was changed.
    """
    revisions = [chain[hop.revision_id] for hop in hops]
    making = _Making(
        services=services,
        chain=chain,
        sizes=Sizes(look, services.log, [touched for one in revisions for touched in one.touched]),
        rehearsals=Rehearsals(services, url),
    )
    return Plan(
        target=target,
        direction=direction,
        environment=services.environment.name,
        revisions=tuple(
            making.planned(revision, hop.direction) for revision, hop in zip(revisions, hops, strict=True)
        ),
        checks=tuple(checks),
    )


@dataclass(kw_only=True)
class _Making:
    services: Services
    chain: Chain
    sizes: Sizes
    rehearsals: Rehearsals

    def planned(self, revision: Revision, direction: Direction) -> PlannedRevision:
        known = self.rehearsals.of(revision)
        planned = PlannedRevision(
            revision=revision.id,
            description=revision.description,
            direction=direction,
            dag_id=revision.dag_id,
            checksum=revision.checksum,
            plan_sha256=digest_of(revision, direction),
            transaction=revision.transaction,
            operations=tuple(self._operations(revision, direction)),
            backups=tuple(self._backups(revision)),
            predicted=known.predicted if direction == "upgrade" else None,
            rehearsal=known.last,
            findings=tuple(_findings(revision, direction)),
            approval=_NOBODY,
            readiness=tuple(self._readiness(revision, direction)),
        )
        size = self.sizes.total([t for op in revision.operations(direction) for t in op.writes])
        return replace(planned, approval=allowed(self.services, revision, planned.mark, size))

    def _operations(self, revision: Revision, direction: Direction) -> Iterator[PlannedOperation]:
        for number, operation in enumerate(revision.operations(direction), 1):
            size = self.sizes.total(operation.writes)
            yield PlannedOperation(
                number=number,
                what=operation.describe(),
                lock=lock_of(operation),
                batched=operation.batched,
                lossy=operation.lossy,
                way_back=operation.way_back.value,
                resources=tuple(map(str, operation.writes)),
                records=size.records,
                least=size.least,
            )

    def _backups(self, revision: Revision) -> Iterator[PlannedBackup]:
        for database in revision.databases:
            touched = touched_in(revision, database)
            yield PlannedBackup(
                conn_id=database.conn_id,
                resources=tuple(one.slug for one in touched),
                bytes=self.sizes.total(touched).bytes,
            )

    def _readiness(self, revision: Revision, direction: Direction) -> Iterator[str]:
        """Say what a downgrade would do now, of a revision that goes down."""
        if direction == "downgrade":
            for one in readiness(self.services, self.chain, [revision.id]):
                yield from one.lines()


def _findings(revision: Revision, direction: Direction) -> Iterator[Finding]:
    """Yield what the linter holds against a revision; what is only worth knowing is in the plan already."""
    for finding in lint(revision):
        if finding.severity is not Severity.INFO and (
            direction in finding.where or ": " not in finding.where
        ):
            yield finding
