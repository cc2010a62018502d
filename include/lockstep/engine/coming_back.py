"""Whether what a downgrade restores from is still there: journals and what is parked."""

from __future__ import annotations

from dataclasses import dataclass, field

from lockstep.domain.operations.base import Operation, WayBack
from lockstep.domain.operations.drop_column import DropColumn
from lockstep.domain.operations.restore import Restore
from lockstep.domain.operations.run_python import RunPython
from lockstep.domain.parked import Parked
from lockstep.domain.resources import Collection, Database, Postgres
from lockstep.domain.revision import Revision
from lockstep.domain.status import RunStatus
from lockstep.engine.done import Done, done_steps
from lockstep.engine.quarantine import tries_of
from lockstep.engine.services import Services

_APPLIED = (RunStatus.APPLIED, RunStatus.APPLIED_WITH_QUARANTINE)
_RESTORED = (WayBack.JOURNAL, WayBack.PARKED, WayBack.INVERSE)


@dataclass(frozen=True, kw_only=True)
class Sources:
    """What one ops.restore would take back, and what of that is gone."""

    #: in words, one for each step of the upgrade
    found: tuple[str, ...]
    gone: tuple[str, ...]
    #: records that cannot be had back; None where nobody knows
    records: int | None


@dataclass
class Looking:
    """Look for what a run kept; the lists of parked things are asked for once."""

    services: Services
    revision: Revision
    _parked: dict[str, list[Parked]] = field(default_factory=dict)

    def sources(self, operation: Restore, source: str | None) -> Sources:
        """Return what taking back a resource would draw on."""
        if source is None:
            return Sources(found=(), gone=("the ledger knows no run that applied it",), records=None)
        run = self.services.ledger.run(source)
        if run.direction == "baseline":
            gone = f"it was baselined by run {source}: Lockstep did not apply it, and kept nothing of what was before"
            return Sources(found=(), gone=(gone,), records=None)
        if run.status is RunStatus.REPAIRED and (undone := self._undone(operation, source)):
            return Sources(found=(), gone=undone, records=None)
        return self._kept(operation, source)

    def _undone(self, operation: Restore, source: str) -> tuple[str, ...]:
        """Name the steps that a run never ended though a person said of it that the revision is applied."""
        done = done_steps(self.services, self.revision, source, strict=False)
        ended = {one.step for one in done if all(shard.progress.done for shard in one.shards)}
        return tuple(
            f"upgrade {step} ({upgrade.title}): run {source} did not end it, and what a person did instead has no "
            "journal"
            for step, upgrade in enumerate(self.revision.upgrade, 1)
            if operation.resource in upgrade.writes and upgrade.way_back in _RESTORED and step not in ended
        )

    def _kept(self, operation: Restore, source: str) -> Sources:
        found, gone, records = [], [], 0
        for done in self._steps(operation, source):
            missing = self._missing(done)
            name = f"upgrade {done.step} ({done.operation.title})"
            if missing is None:
                found.append(f"{name}: {done.operation.way_back.value}")
                continue
            gone.append(f"{name}: {missing}")
            records += sum(shard.progress.written for shard in done.shards)
        unknown = any("parked" in text for text in gone)
        return Sources(found=tuple(found), gone=tuple(gone), records=None if unknown else records)

    def _steps(self, operation: Restore, source: str) -> list[Done]:
        """Return the steps that ops.restore takes back, as it does."""
        tries = [run.id for run in tries_of(self.services, source) if run.status in _APPLIED]
        return [
            done
            for run_id in (*tries, source)
            for done in reversed(done_steps(self.services, self.revision, run_id, strict=False))
            if operation.resource in done.operation.writes
            and done.operation.way_back in _RESTORED
            and not isinstance(done.operation, RunPython)
        ]

    def _missing(self, done: Done) -> str | None:
        """Say what of a step is gone; None where all of it is there."""
        if done.operation.way_back is WayBack.PARKED:
            return self._missing_park(done)
        if done.operation.way_back is WayBack.JOURNAL:
            return self._missing_journal(done)
        return None

    def _missing_journal(self, done: Done) -> str | None:
        database = done.operation.database
        if isinstance(database, Postgres):
            # One transaction has one count for all of its steps: it does not say which of them wrote.
            counted = not self.revision.is_atomic("upgrade")
            written = sum(shard.progress.written for shard in done.shards)
            kept = self.services.tables(database).journaled(done.run_id, done.step)
            return "its journal is gone" if counted and written and not kept else None
        entries = self.services.ledger.batches(done.run_id, "upgrade", done.step)
        wanted = {entry.path for entry in entries if entry.state == "applied"}
        folder = f"journal/{done.run_id}/upgrade/{done.step:03}/"
        lost = wanted - set(self.services.vault.paths(folder)) if wanted else set()
        return (
            f"{len(lost)} of {len(wanted)} batches of its journal are gone from the vault" if lost else None
        )

    def _missing_park(self, done: Done) -> str | None:
        """Say that a parked thing is gone: by the ledger's word, or where its step must have left one."""
        if any(_is_of(one, done) for one in self._parks(done.operation.database)):
            return None
        removed = [
            one
            for one in self.services.ledger.parked(gone=True)
            if one.gone_at is not None
            and one.conn_id == done.operation.database.conn_id
            and one.run_id == done.run_id
            and _is_of(one, done)
        ]
        if removed:
            return f"what was parked is gone since {removed[-1].gone_at:%Y-%m-%d %H:%M} UTC ({removed[-1].gone_why})"
        written = any(shard.progress.written for shard in done.shards)
        # A collection may not have been there when it was dropped, and then nothing was parked.
        may_be_none = isinstance(done.operation.writes[0], Collection) or not written
        return None if may_be_none else "what was parked is gone"

    def _parks(self, database: Database) -> list[Parked]:
        if database.conn_id not in self._parked:
            self._parked[database.conn_id] = self.services.store(database).parked()
        return self._parked[database.conn_id]


def _is_of(parked: Parked, done: Done) -> bool:
    if parked.run_id not in (None, done.run_id):
        return False
    if parked.kind == "objects":
        return parked.parked_as.endswith(f"/{done.run_id}/{done.step:03}/")
    return parked.resource == _resource(done.operation)


def _resource(operation: Operation) -> str:
    [resource] = operation.writes
    return f"{resource.slug}.{operation.column}" if isinstance(operation, DropColumn) else resource.slug
