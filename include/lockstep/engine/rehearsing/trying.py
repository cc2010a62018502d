"""The spine of a rehearsal: load the copies, go up, go down, compare, go up again."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from lockstep.domain.chain import Chain
from lockstep.domain.progress import Fingerprint, Manifest
from lockstep.domain.rehearsal import Verdict
from lockstep.domain.resources import Database, Touched
from lockstep.domain.revision import Direction, Revision
from lockstep.engine.backup import fingerprints
from lockstep.engine.copied import resources_of
from lockstep.engine.ports.gauges import LockLog
from lockstep.engine.rehearsing.copies import Copied, load_copy
from lockstep.engine.rehearsing.crew import Crew
from lockstep.engine.rehearsing.differing import Difference, describe
from lockstep.engine.rehearsing.driving import Drive, Trial, Trouble
from lockstep.engine.rehearsing.history import write_history
from lockstep.engine.rehearsing.opening import Plan
from lockstep.engine.rehearsing.samples import Showing
from lockstep.engine.rehearsing.stage import Backstage, Stage, name_of, set_stage
from lockstep.engine.rehearsing.wanted import touched_by
from lockstep.engine.services import Services

#: what was measured, below a rehearsal's folder
MEASURED = "measured.json"


@dataclass(kw_only=True)
class Tried:
    """One revision, tried in all directions."""

    revision: Revision
    up: Trial | None = None
    down: Trial | None = None
    again: Trial | None = None
    #: resources that were compared after the downgrade, and of those the ones that differ
    compared: int = 0
    differences: list[Difference] = field(default_factory=list)
    #: bytes before and after the first upgrade, by database and what they are
    growth: dict[str, dict[str, tuple[int, int]]] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        trials = [trial for trial in (self.up, self.down, self.again) if trial is not None]
        return len(trials) == 3 and all(trial.good for trial in trials) and not self.differences


@dataclass(kw_only=True)
class Measured:
    """All that a rehearsal saw."""

    copies: list[Copied] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)
    #: seconds of the whole, and of what surrounds the revisions
    seconds: dict[str, float] = field(default_factory=dict)
    verdict: Verdict = Verdict.STOPPED
    #: why it is not green: the operation, and what is wrong
    why: str = ""


def try_out(
    services: Services, backstage: Backstage, chain: Chain, plan: Plan, folder: Path, *, attempt: int
) -> Measured:
    """Try a plan on copies; return what was seen, with the verdict. The scratch spaces stay for who drops them.

    `folder`: where the revisions' files are. Each attempt has scratch spaces of its own, so that one which was
    thought dead changes nothing of another's.
    """
    measured = Measured()
    with _timed(measured, "making the scratch spaces"):
        stage = set_stage(services, backstage, plan.rehearsal, plan.wanted, attempt=attempt)
    try:
        with _timed(measured, "loading the copies"):
            for wanted in plan.wanted:
                measured.copies.append(load_copy(services, backstage, stage, plan, wanted))
            write_history(stage.services.ledger, plan.applied, plan.rehearsal.caller)
        with ExitStack() as opened:
            crew = opened.enter_context(backstage.crew(stage, folder))
            locks = {
                database: opened.enter_context(backstage.gauge(database, store).watching())
                for database, store in stage.copies.items()
            }
            _Trying(services, backstage, stage, chain, plan, crew, locks, measured).go()
    finally:
        stage.close()
    return measured


class _Trying:
    """One attempt."""

    def __init__(
        self,
        services: Services,
        backstage: Backstage,
        stage: Stage,
        chain: Chain,
        plan: Plan,
        crew: Crew,
        locks: Mapping[Database, LockLog],
        measured: Measured,
    ) -> None:
        self.services = services
        self.backstage = backstage
        self.stage = stage
        self.chain = chain
        self.plan = plan
        self.crew = crew
        self.locks = locks
        self.measured = measured
        # The chain's own values: an operation is equal to itself alone, by the functions of its module.
        self.revisions = [chain[revision.id] for revision in plan.revisions]
        self.showing = Showing(stage.services, plan.asked.samples)
        self.moves = 0

    def go(self) -> None:
        measured = self.measured
        with _timed(measured, "upgrading"):
            good = self._all_up()
        if good:
            with _timed(measured, "downgrading, and comparing"):
                good = self._all_down()
        if good:
            self.showing = Showing(self.stage.services, 0)
            with _timed(measured, "upgrading again"):
                good = self._all_up_again()
        measured.verdict = Verdict.GREEN if good else Verdict.RED

    def _all_up(self) -> bool:
        for revision in self.revisions:
            tried = Tried(revision=revision)
            self.measured.tried.append(tried)
            sizes = self._sizes()
            tried.up = self._drive(revision, "upgrade")
            tried.growth = _growth(sizes, self._sizes())
            if not tried.up.good:
                return self._red(tried.up.trouble, tried.up)
        return True

    def _all_down(self) -> bool:
        for tried in reversed(self.measured.tried):
            tried.down = self._drive(tried.revision, "downgrade")
            if not tried.down.good:
                return self._red(tried.down.trouble, tried.down)
            if not self._compare(tried):
                return False
        return True

    def _all_up_again(self) -> bool:
        for tried in self.measured.tried:
            tried.again = self._drive(tried.revision, "upgrade")
            if not tried.again.good:
                return self._red(tried.again.trouble, tried.again, "the second time, ")
        return True

    def _drive(self, revision: Revision, direction: Direction) -> Trial:
        self.moves += 1
        with self.services.log.group(f"{direction} of {revision.id} — {revision.description}"):
            drive = Drive(
                self.stage,
                self.chain,
                revision,
                direction,
                crew=self.crew,
                showing=self.showing,
                locks=self.locks,
                number=self.moves,
            )
            return drive.go()

    def _red(self, trouble: Trouble | None, trial: Trial, when: str = "") -> bool:
        named = trouble or Trouble(
            where=str(trial.run.revision), error=f"its run ended as {trial.run.status}"
        )
        operation = f" (step {named.step}: {named.operation})" if named.operation else ""
        undone = {True: " What it had done was taken back.", False: " It could not be taken back.", None: ""}
        self.measured.why = f"{when}{named.where}{operation}: {named.error}{undone[trial.undone]}"
        self.services.log.error(self.measured.why)
        return False

    def _compare(self, tried: Tried) -> bool:
        """Compare every touched resource with what it was before the upgrade; name what is not the same."""
        assert tried.up is not None
        manifests = {m.conn_id: m for m in self.stage.services.ledger.backups(tried.up.run.id)}
        for database in tried.revision.databases:
            manifest = manifests[database.conn_id]
            touched = touched_by([tried.revision], database)
            now = fingerprints(self.stage.services, database, touched)
            gone = Fingerprint(present=False)
            tried.compared += len({**manifest.fingerprints, **now})
            wrong = {
                slug: how
                for slug in {**manifest.fingerprints, **now}
                if (how := now.get(slug, gone).differs_from(manifest.fingerprints.get(slug, gone)))
            }
            if wrong:
                tried.differences += self._differences(database, manifest, wrong, now)
        if not tried.differences:
            return True
        first = tried.differences[0]
        self.measured.why = f"{blame(tried.revision, first.resource)}: after it, {_told(first)}"
        self.services.log.error(self.measured.why)
        return False

    def _differences(
        self, database: Database, manifest: Manifest, wrong: Mapping[str, str], now: Mapping[str, Fingerprint]
    ) -> list[Difference]:
        """Load what was there before beside what is there now, and look for the first record of each resource."""
        wanted = next(one for one in self.plan.wanted if one.database == database)
        name = name_of(self.stage.mark, f"{wanted.label}_before", self.backstage.live)
        live = self.services.stores(database)
        before = live.open_scratch(name)
        try:
            before.load(manifest.files, self.stage.services.vault.read)
            before.check()
            named = dict(_by_slug(database, manifest, now))
            return [
                describe(named[slug], how, before, self.stage.copies[database]) for slug, how in wrong.items()
            ]
        finally:
            live.drop_scratch(name)

    def _sizes(self) -> dict[str, dict[str, int]]:
        return {
            self._label(database): dict(self.backstage.gauge(database, store).size())
            for database, store in self.stage.copies.items()
        }

    def _label(self, database: Database) -> str:
        return next(one.label for one in self.plan.wanted if one.database == database)


def _by_slug(
    database: Database, manifest: Manifest, now: Mapping[str, Fingerprint]
) -> Iterator[tuple[str, Touched]]:
    both = replace(manifest, fingerprints={**manifest.fingerprints, **now})
    yield from zip(both.fingerprints, resources_of(database, both), strict=True)


def _growth(
    before: Mapping[str, Mapping[str, int]], after: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, tuple[int, int]]]:
    return {
        label: {name: (before[label].get(name, 0), size) for name, size in sizes.items()}
        for label, sizes in after.items()
    }


def blame(revision: Revision, resource: str) -> str:
    """Name the steps of downgrade() that should have put a resource back, or say that none is about it."""
    steps = [
        f"step {step}: {operation.title}"
        for step, operation in enumerate(revision.downgrade, 1)
        if any(str(touched) == resource or touched.slug == "*" for touched in operation.writes)
    ]
    if steps:
        return f"downgrade of {revision.id} ({', '.join(steps)})"
    changed = [
        f"step {step}: {operation.title}"
        for step, operation in enumerate(revision.upgrade, 1)
        if any(str(touched) == resource or touched.slug == "*" for touched in operation.writes)
    ]
    return f"downgrade of {revision.id} (no operation of it takes back {', '.join(changed) or resource})"


def _told(difference: Difference) -> str:
    said = f"{difference.resource} is not what it was: {difference.how}"
    if difference.key is not None:
        said += (
            f". Record {difference.key}: {_side(difference.before)} before, {_side(difference.after)} after"
        )
    if difference.shape:
        name, was, now = difference.shape[0]
        said += f". {name}: {was or 'not there'} before, {now or 'not there'} after"
    return said


def _side(record: Mapping[str, Any] | None) -> str:
    return "not there" if record is None else json.dumps(record, ensure_ascii=False, default=str)


@contextmanager
def _timed(measured: Measured, what: str) -> Iterator[None]:
    began = time.monotonic()
    try:
        yield
    finally:
        measured.seconds[what] = round(time.monotonic() - began, 3)
