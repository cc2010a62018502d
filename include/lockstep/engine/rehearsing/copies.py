"""Load the copies: a backup into each scratch space, made smaller where a sample was asked for."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lockstep.domain.errors import Refused
from lockstep.domain.progress import Fingerprint
from lockstep.domain.rehearsal import FRESH
from lockstep.engine.backup import fingerprints
from lockstep.engine.copied import refuse_different
from lockstep.engine.rehearsing.opening import Plan
from lockstep.engine.rehearsing.source import source_of
from lockstep.engine.rehearsing.stage import Backstage, Stage
from lockstep.engine.rehearsing.wanted import Wanted
from lockstep.engine.services import Services


@dataclass(frozen=True, kw_only=True)
class Copied:
    """One copy, as it is when the revisions begin."""

    wanted: Wanted
    bytes: int
    #: seconds that loading it took
    seconds: float
    #: records by resource, as they were loaded
    loaded: Mapping[str, int]
    #: and as they are after the sample was taken
    kept: Mapping[str, int]
    #: how the sample was taken; empty where all is there
    sampled: str = ""

    def scale_of(self, slug: str) -> float:
        """Return the records of the live data for one of the copy's."""
        return scale(self.loaded.get(slug, 0), self.kept.get(slug, 0))

    @property
    def scale(self) -> float:
        """The same over all resources."""
        return scale(sum(self.loaded.values()), sum(self.kept.values()))

    def as_json(self) -> dict[str, Any]:
        return {
            "conn_id": self.wanted.database.conn_id,
            "kind": self.wanted.database.kind,
            "copied": [str(resource) for resource in self.wanted.resources],
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            "records": dict(self.loaded),
            "kept": dict(self.kept),
            "sampled": self.sampled,
        }


def scale(all_of_them: int, kept: int) -> float:
    return all_of_them / kept if kept and all_of_them else 1.0


def load_copy(services: Services, backstage: Backstage, stage: Stage, plan: Plan, wanted: Wanted) -> Copied:
    """Fill one scratch space from its backup.

    `services`: the real ones, whose vault has the backup. A backup that a run has left is compared with its
    manifest, as its proof is; one taken just now was not fingerprinted, and the copy is what counts.
    """
    database = wanted.database
    manifest = source_of(services, plan, wanted)
    name = stage.names[database]
    services.log.info(f"loading {database.conn_id} into {name}", bytes=manifest.size)
    began = time.monotonic()
    copy = stage.copies[database]
    copy.load(manifest.files, services.vault.read)
    took = time.monotonic() - began
    if plan.asked.source != FRESH:
        refuse_different(services, database, copy, manifest)
    _refuse_elsewhere(copy.check(), name)
    loaded = _counts(stage, wanted)
    if plan.asked.sample >= 100:
        return Copied(wanted=wanted, bytes=manifest.size, seconds=took, loaded=loaded, kept=loaded)
    kept, how = backstage.gauge(database, copy).thin(plan.asked.sample, wanted.resources)
    services.log.info(f"{database.conn_id}: {how}", kept=dict(kept))
    return Copied(
        wanted=wanted,
        bytes=manifest.size,
        seconds=took,
        loaded=loaded,
        kept={**loaded, **kept},
        sampled=how,
    )


def _counts(stage: Stage, wanted: Wanted) -> dict[str, int]:
    held: Mapping[str, Fingerprint] = fingerprints(
        stage.services, wanted.database, wanted.resources, keys_only=True
    )
    return {slug: one.count for slug, one in held.items()}


def _refuse_elsewhere(facts: Mapping[str, str], name: str) -> None:
    """Raise Refused where a server says that a copy is not in its scratch space, before any revision is run there."""
    said = facts.get("database", name)
    if said != name:
        raise Refused(
            f"the copy that should be in {name} is in {said}, by its server's own word. Nothing was tried.",
            name=name,
        )
