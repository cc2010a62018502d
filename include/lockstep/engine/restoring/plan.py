"""What a restore would do, as plain data: shown, approved, and only then done."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from lockstep.domain.backups import Proof
from lockstep.domain.errors import Refused
from lockstep.domain.progress import Manifest
from lockstep.domain.resources import (
    Bucket,
    Collection,
    Database,
    Everything,
    Mongo,
    Postgres,
    Prefix,
    Table,
    Touched,
)
from lockstep.domain.status import Status
from lockstep.engine.restoring.choosing import size

KINDS: dict[str, type[Postgres] | type[Mongo] | type[Bucket]] = {
    kind.kind: kind for kind in (Postgres, Mongo, Bucket)
}


@dataclass(frozen=True, kw_only=True)
class Target:
    """The backup of one database, and where it goes."""

    manifest: Manifest
    #: None where nobody proved the backup
    proof: Proof | None
    source: Database
    #: the same database, or another of its kind
    into: Database
    #: what is put back, as resources of `into`
    resources: tuple[Touched, ...]
    #: whether that is all that the backup holds
    whole: bool
    #: slug → records that are there now; what is not there is left out
    present: Mapping[str, int]

    @property
    def in_place(self) -> bool:
        return self.source == self.into

    @property
    def records(self) -> int:
        """Records that are there now."""
        return sum(self.present.values())

    @property
    def label(self) -> str:
        """The database's connection, and the other one's where it goes there."""
        name = self.source.conn_id
        return name if self.in_place else f"{name} → {self.into.conn_id}"

    @property
    def words(self) -> str:
        """What is put where, and what is there now."""
        what = ", ".join("everything" if isinstance(one, Everything) else one.slug for one in self.resources)
        there = ", ".join(f"{slug} ({count} records)" for slug, count in sorted(self.present.items()))
        now = f"there now, and backed up first: {there}" if there else "nothing of it is there now"
        proof = f"proven by {self.proof}" if self.proof else "not proven"
        return f"{self.label}: {what} ({size(self.manifest.size)}, {proof}); {now}"

    def as_json(self) -> dict[str, Any]:
        """Return what the tasks after the plan need of it."""
        return {
            "label": self.label,
            "manifest": self.manifest.path,
            "conn_id": self.source.conn_id,
            "into": _named(self.into),
            "resources": [_slugged(resource) for resource in self.resources],
            "whole": self.whole,
            "in_place": self.in_place,
        }


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What becomes of a revision in the ledger."""

    revision: str
    now: Status
    becomes: Status
    #: the run whose effects stand once it is applied
    applied_run: str | None = None

    @property
    def words(self) -> str:
        return f"revision {self.revision}: {self.now} → {self.becomes}"

    def as_json(self) -> dict[str, Any]:
        return {
            "revision": self.revision,
            "becomes": self.becomes.value,
            "applied_run": self.applied_run,
        }


@dataclass(frozen=True, kw_only=True)
class RestorePlan:
    """What would be done, and what speaks against it."""

    #: the run whose backup it is
    backup: str
    revision: str
    checksum: str
    #: what the backup was taken before, and when
    before: str
    targets: tuple[Target, ...]
    #: revisions whose status changes, in the order of the chain
    fates: tuple[Fate, ...] = ()
    #: revision → its status now
    statuses: Mapping[str, Status] = field(default_factory=dict)
    #: runs left half-way or failed that end with this
    closes: tuple[str, ...] = ()
    #: a restore of the same that was interrupted, and that this one would carry on
    carries_on: str | None = None
    #: whether the ledger is made to say what is so afterwards
    reconciles: bool = False
    #: why it cannot be done, each with what to do instead
    problems: tuple[str, ...] = ()
    #: what is to be known before it is approved
    remarks: tuple[str, ...] = ()

    @property
    def records(self) -> int:
        """Records that are there now, in what would be overwritten."""
        return sum(target.records for target in self.targets)

    @property
    def empty(self) -> bool:
        """Whether nothing is there that could be lost."""
        return self.records == 0

    @property
    def words(self) -> list[str]:
        """The plan line by line, for a log and for whoever approves it."""
        lines = [f"Put back the backup of run {self.backup}, taken {self.before}."]
        lines += [f"  {target.words}" for target in self.targets]
        if self.carries_on:
            lines.append(f"It carries on with {self.carries_on}, which was interrupted.")
        lines += [f"Run {run} was left half-way or failed: it ends with this." for run in self.closes]
        lines += [fate.words for fate in self.fates]
        if not self.fates:
            lines.append("The statuses of the revisions stay as they are.")
        return [*lines, *(f"Note: {remark}" for remark in self.remarks)]

    @property
    def mark(self) -> str:
        """Name what is approved: another plan has another mark, and so does one that would newly overwrite."""
        told = {
            "backup": self.backup,
            "targets": [target.as_json() for target in self.targets],
            "overwrites": [target.records > 0 for target in self.targets],
            "fates": [fate.as_json() for fate in self.fates],
            "closes": self.closes,
            "reconciles": self.reconciles,
        }
        return hashlib.sha256(json.dumps(told, sort_keys=True).encode()).hexdigest()[:16]

    def refuse(self) -> None:
        """Raise Refused, with every reason, where something speaks against it."""
        if self.problems:
            raise Refused(
                f"the backup of run {self.backup} cannot be put back as asked: {' '.join(self.problems)}",
                backup=self.backup,
                problems=list(self.problems),
            )

    def same_work(self, facts: Mapping[str, Any]) -> bool:
        """Whether a restore's facts say that it puts the same back to the same places."""
        mine = [target.as_json() for target in self.targets]
        return bool(facts.get("backup") == self.backup and facts.get("targets") == mine)


@dataclass(frozen=True, kw_only=True)
class Work:
    """One database of a restore that was opened, as its tasks find it in the ledger."""

    manifest: Manifest
    into: Database
    resources: tuple[Touched, ...]
    whole: bool
    in_place: bool
    label: str

    @property
    def done_mark(self) -> str:
        """The fact of the run that says it is done: one for each, so that two tasks do not overwrite each other's."""
        return f"put_back:{self.into.conn_id}"

    @property
    def begun_mark(self) -> str:
        """The fact that says that something in the database may have changed."""
        return f"begun:{self.into.conn_id}"

    @property
    def loading_mark(self) -> str:
        """The fact that says that rows are on their way into an empty database."""
        return f"loading:{self.into.conn_id}"


def work_of(target: Mapping[str, Any], manifest: Manifest) -> Work:
    """Return a target as its tasks need it, from the facts of the run and the manifest that they name."""
    named = target["into"]
    into = KINDS[named["kind"]](named["conn_id"])
    if isinstance(into, Bucket):
        into = Bucket(named["conn_id"], named.get("bucket"))
    return Work(
        manifest=manifest,
        into=into,
        resources=tuple(_resource(into, one) for one in target["resources"]),
        whole=bool(target["whole"]),
        in_place=bool(target["in_place"]),
        label=str(target["label"]),
    )


def moved(resource: Touched, into: Database) -> Touched:
    """Return the resource of the same name in another database of its kind."""
    return _resource(into, _slugged(resource))


def _named(database: Database) -> dict[str, Any]:
    named = {"kind": database.kind, "conn_id": database.conn_id}
    if isinstance(database, Bucket) and database.bucket:
        named["bucket"] = database.bucket
    return named


def _slugged(resource: Touched) -> dict[str, str]:
    if isinstance(resource, Table):
        return {"name": resource.name, "schema": resource.schema}
    return {} if isinstance(resource, Everything) else {"name": resource.name}


def _resource(database: Database, told: Mapping[str, str]) -> Touched:
    if not told:
        return Everything(database)
    if isinstance(database, Postgres):
        return Table(database, told["name"], schema=told["schema"])
    if isinstance(database, Mongo):
        return Collection(database, told["name"])
    return Prefix(database, told["name"])
