"""Kill workers at random until enough were killed, and look whether each record was still carried exactly once."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from driver import Driver, PlainLog
from world import factory_of, fresh_world

from chaos.grounds import BODIES, Ground, ready, store_of
from chaos.herd import Herd, Worker, herd_in
from lockstep.domain.progress import Phase
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.recording import record
from lockstep.engine.steps import plan_step, settle
from lockstep.engine.undo import verify_restored, way_down
from lockstep.engine.verify import verify

#: records of one round: enough for its kills to find work, few enough to be compared in a moment
RECORDS = {"rows": 3000, "documents": 1500, "objects": 160}
#: records of a batch, from and to; drawn anew for each worker
BATCHES = {"rows": (10, 60), "documents": (10, 60), "objects": (3, 12)}
PER_SHARD = {"rows_per_shard": 1000, "documents_per_shard": 500, "objects_per_shard": 60}
#: places that a worker passes in a batch; a kill is aimed at some time after one of them
PLACES = {
    "rows": ("batch opened", "batch written", "batch committed"),
    "documents": ("batch journaled", "batch written", "batch committed"),
    "objects": ("object begun", "batch journaled", "batch written", "batch committed"),
}
#: the same of an undo from the journal
PLACES_BACK = {
    "rows": PLACES["rows"],
    "documents": ("batch taken back",),
    "objects": ("object begun", "batch taken back"),
}
#: seconds that a batch takes, until some were seen
GUESS = 0.05


class Broken(AssertionError):
    """What was promised did not hold."""


@dataclass
class Tally:
    """What one campaign came to."""

    kills: int = 0
    #: kills before the worker had said that it begins, and while an undo was under way
    early: int = 0
    undoing: int = 0
    #: workers started while another still worked on the same shard
    doubled: int = 0
    rounds: int = 0
    workers: int = 0
    records: int = 0
    #: writes or calls beyond one a record, and as many as would have been one batch a kill
    redone: int = 0
    allowed: int = 0
    lines: list[str] = field(default_factory=list)


@dataclass(kw_only=True)
class Campaign:
    """Kills on one kind of store."""

    servers: Any
    store: str
    kills: int
    dice: random.Random
    say: Callable[[str], None]
    #: kills of one round
    each: int = 20
    #: how much smaller the rounds are than usual
    smaller: int = 1
    tally: Tally = field(default_factory=Tally)
    #: seconds that batches took, as they were seen from outside
    took: list[float] = field(default_factory=list)

    def run(self) -> Tally:
        """Do round after round, each in databases of its own."""
        bodies = [body for body in BODIES if store_of(body) == self.store]
        while self.tally.kills < self.kills:
            body = bodies[self.tally.rounds % len(bodies)]
            self.tally.rounds += 1
            with tempfile.TemporaryDirectory(prefix="lockstep-kills-") as folder:
                self._round(body, Path(folder))
        return self.tally

    def _round(self, body: str, folder: Path) -> None:
        with fresh_world(self.servers, folder / "migrations") as world:
            log = PlainLog()
            services = factory_of(world, log, **PER_SHARD)
            driver = Driver(services=services, migrations=world.migrations, log=log)
            ground, revision, run = ready(world, driver, body, RECORDS[self.store] // self.smaller)
            before = ground.hash()
            with herd_in(world, folder) as herd:
                one = _Round(self, driver, herd, ground, revision, run, body)
                # Every other round is left half-way, and its undo is killed too.
                whole = self.dice.random() < 0.5
                wanted = min(self.each, self.kills - self.tally.kills)
                ups = max(1, wanted * 2 // 3)
                one.attack("upgrade", ups, finish=whole)
                if whole:
                    one.check_carried()
                if self.tally.rounds % 2 and whole:
                    one.settles()
                else:
                    one.undo(wanted - ups, before)
            kept = "carried once" if whole else "left half-way"
            self.say(
                f"round {self.tally.rounds}: {body}, {ground.count} records {kept}; "
                f"{self.tally.kills} of {self.kills} kills, {self.tally.workers} workers"
            )


@dataclass
class _Round:
    campaign: Campaign
    driver: Driver
    herd: Herd
    ground: Ground
    revision: Revision
    run: Run
    body: str
    #: records that the kills of this round may have wasted
    wasted: int = 0

    def attack(self, phase: Phase, kills: int, *, finish: bool) -> None:
        """Let workers do a phase and kill so many of them; then let it be done, or leave it."""
        services = self.driver.services(self.driver.bomb)
        plan_step(services, self.revision, self.run, phase, 1, shards=3)
        killed = 0
        while shards := self._open(phase):
            if killed >= kills and not finish:
                return
            shard = self.campaign.dice.choice(shards)
            if killed < kills:
                killed += self._killed(phase, shard)
            else:
                self._ended(self._start(phase, shard)[0])

    def _open(self, phase: Phase) -> list[int]:
        ledger = self.driver.services(self.driver.bomb).ledger
        return [one.shard for one in ledger.shards(self.run.id, phase) if one.state != "done"]

    def _start(self, phase: Phase, shard: int) -> tuple[Worker, int]:
        """Start a worker with settings of its own; return it with the most records of its batches."""
        dice, (least, most) = self.campaign.dice, BATCHES[self.campaign.store]
        limit = dice.randint(least, most)
        self.campaign.tally.workers += 1
        worker = self.herd.start(
            self.run,
            phase,
            shard=shard,
            shards=dice.randint(1, 5),
            batch_rows=limit,
            batch_documents=limit,
            batch_objects=limit,
            batch_least=dice.randint(1, limit),
            batch_seconds=dice.choice([0.005, 0.05, 1.0]),
            **PER_SHARD,
        )
        return worker, limit

    def _killed(self, phase: Phase, shard: int) -> int:
        """Start a worker, perhaps a second one beside it, and kill the first at random; return the kills."""
        dice, tally = self.campaign.dice, self.campaign.tally
        worker, limit = self._start(phase, shard)
        self._wait(worker, phase)
        second = self._start(phase, shard)[0] if dice.random() < 0.15 else None
        if second is not None:
            # A task that is thought dead, and its retry: both write for a moment, the first is fenced off.
            tally.doubled += 1
            second.wait_for(lambda: second.reached("ready") > 0)
            time.sleep(dice.uniform(0, 0.3))
        lived = worker.kill()
        worker.wait_for(lambda: False, 5)
        begun = worker.reached("ready") > 0
        self._learn(worker)
        if second is not None:
            self._ended(second)
        if not lived:
            self._ended(worker, may=("StaleEpoch",) if second is not None else ())
            self.wasted += self._batches(limit) if second is not None else 0
            return 0
        tally.kills += 1
        tally.early += not begun
        tally.undoing += phase == "undo"
        self.wasted += self._batches(limit) if begun else 0
        return 1

    def _batches(self, limit: int) -> int:
        """Return the records that one kill may make the next worker do again."""
        # Calls are counted of documents and objects: the next batch is computed while one is journaled.
        ahead = self.campaign.store != "rows"
        return limit * (2 if ahead else 1)

    def _wait(self, worker: Worker, phase: Phase) -> None:
        """Wait for some random moment of the worker's life."""
        dice = self.campaign.dice
        batch = statistics.median(self.campaign.took[-50:]) if self.campaign.took else GUESS
        if dice.random() < 0.15:
            # The first moments: imports, connections, the claim.
            time.sleep(dice.uniform(0, 2.0))
            return
        worker.wait_for(lambda: worker.reached("ready") > 0)
        if dice.random() < 0.7:
            times = dice.randint(1, 4)
            place = dice.choice((PLACES_BACK if phase == "undo" else PLACES)[self.campaign.store])
            worker.wait_for(lambda: worker.reached(place) >= times, 3.0)
        else:
            time.sleep(dice.uniform(0, 0.3))
        time.sleep(dice.uniform(0, 1.5 * batch))

    def _learn(self, worker: Worker) -> None:
        ends = [
            heard
            for heard, event in zip(worker.heard, worker.events, strict=False)
            if event["event"] in ("batch committed", "batch taken back")
        ]
        self.campaign.took += [ends[place] - ends[place - 1] for place in range(1, len(ends))]

    def _ended(self, worker: Worker, may: tuple[str, ...] = ()) -> None:
        end = worker.end()
        self._learn(worker)
        if end["how"] not in ("done", *may):
            raise Broken(f"{self.body}: a worker that nobody killed ended as {end}")

    def check_carried(self) -> None:
        """Compare every counter, and count what was done more than once."""
        wanted = list(range(2, self.ground.count + 2))
        found = self.ground.counters(self.body)
        if found != wanted:
            wrong = [
                (place, now)
                for place, (now, then) in enumerate(zip(found, wanted, strict=False))
                if now != then
            ]
            raise Broken(f"{self.body}: {len(found)} records, {len(wrong)} wrong, such as {wrong[:5]}")
        tally = self.campaign.tally
        tally.records += len(found)
        calls = self._calls()
        if calls is None:
            return
        redone = calls - self.ground.count
        tally.redone += redone
        tally.allowed += self.wasted
        if not 0 <= redone <= self.wasted:
            raise Broken(
                f"{self.body}: {redone} record(s) were done again, and {self.wasted} is the most allowed"
            )

    def _calls(self) -> int | None:
        if self.campaign.store == "rows":
            return self.ground.touched()
        return self.herd.called() if self.body.endswith("function") else None

    def settles(self) -> None:
        """End the run as one that went well."""
        services = self.driver.services(self.driver.bomb)
        settle(services, self.revision, self.run, "upgrade", {})
        verify(services, self.revision, self.run)
        ended = record(services, self.revision, self.run)
        if ended.status is not RunStatus.APPLIED:
            raise Broken(f"{self.body}: the run ended as {ended.status}: {ended.error}")

    def undo(self, kills: int, before: str) -> None:
        """Take all back, under kills, and compare with what the witness saw before."""
        services = self.driver.services(self.driver.bomb)
        if way_down(services, self.revision, self.run) != "undo":
            raise Broken(f"{self.body}: there should have been something to undo")
        self.attack("undo", kills, finish=True)
        verify_restored(services, self.revision, self.run)
        ended = record(services, self.revision, self.run)
        if ended.status is not RunStatus.ROLLED_BACK:
            raise Broken(f"{self.body}: the undone run ended as {ended.status}: {ended.error}")
        if self.ground.hash() != before:
            raise Broken(f"{self.body}: the store differs from what it was before the upgrade")
