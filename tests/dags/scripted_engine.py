"""An engine that does what a test says, over a ledger of plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from lockstep.domain.approval import Allowed, Standing
from lockstep.domain.chain import load_chain
from lockstep.domain.environment import DEFAULT, Environment
from lockstep.domain.errors import Held, LockstepError, Refused, StepsUnfinished
from lockstep.domain.loading import load_revision
from lockstep.domain.plan import Plan, PlannedRevision
from lockstep.domain.revision import Revision
from lockstep.domain.run import Run
from lockstep.domain.status import RunStatus
from lockstep.engine.choosing import Question
from lockstep.engine.routing import Hop

Place = tuple[Any, ...]


@dataclass
class ScriptedLedger:
    engine: ScriptedEngine

    def shards(self, run_id: str, phase: str | None = None) -> list[Any]:
        return []

    def backups(self, run_id: str) -> list[Any]:
        return []

    def run(self, run_id: str) -> Run:
        return next(run for run in self.engine.runs.values() if run.id == run_id)

    def quarantined(self, run_id: str) -> list[Any]:
        return self.engine.quarantined

    def run_of(self, dag_id: str, dag_run_id: str) -> Run | None:
        return self.engine.runs.get((dag_id, dag_run_id))


@dataclass
class Services:
    ledger: ScriptedLedger
    environment: Environment = DEFAULT


def planned_as(*steps: Any) -> Plan:
    """Return a plan of these steps."""
    return Plan(target="head", direction="upgrade", environment="production", revisions=steps)


def step(revision: str, state: Standing = Standing.NEEDED) -> PlannedRevision:
    """Return a step of a plan that a person has to allow, unless its standing is another."""
    return PlannedRevision(
        revision=revision,
        description="A step.",
        direction="upgrade",
        dag_id=f"revision_{revision}",
        checksum="c" * 64,
        plan_sha256="d" * 64,
        transaction="batched",
        operations=(),
        backups=(),
        predicted=None,
        rehearsal=None,
        findings=(),
        approval=Allowed(state=state, why="production asks for every revision"),
    )


@dataclass
class ScriptedEngine:
    """Stands in for `lockstep.orchestration.calls`. What it is asked to do is kept in `asked`."""

    #: place → the error that the engine raises there, each time
    fails: dict[Place, Exception] = field(default_factory=dict)
    #: place → what the engine is held with there, one time after another
    holds: dict[Place, list[Held]] = field(default_factory=dict)
    #: what opening a run comes to
    opens_as: RunStatus = RunStatus.OPEN
    shards: int = 2
    asked: list[Place] = field(default_factory=list)
    runs: dict[tuple[str, str], Run] = field(default_factory=dict)
    done: set[Place] = field(default_factory=set)
    noted: list[tuple[str, str]] = field(default_factory=list)
    hops: list[Hop] = field(default_factory=list)
    quarantined: list[Any] = field(default_factory=list)
    #: what a person was asked about, and chose
    chosen: list[tuple[str, str, str]] = field(default_factory=list)
    #: what a plan says, and which revisions a person has to allow, one time after another
    plan: Any = field(default_factory=lambda: planned_as())
    wanted_approvals: list[Any] = field(default_factory=list)
    #: what a person said to them: yes or no, who, and to which
    answers: list[tuple[str, str, list[str]]] = field(default_factory=list)
    #: what open_run was given
    params: Mapping[str, Any] = field(default_factory=dict)

    def reach(self, *place: Any) -> None:
        self.asked.append(place)
        if self.holds.get(place):
            raise self.holds[place].pop(0)
        if place in self.fails:
            raise self.fails[place]
        self.done.add(place)

    # --- what the tasks call ---------------------------------------------------------------------------

    def load_revision(self, path: Path) -> Revision:
        return load_revision(path)

    def load_chain(self, folder: Path) -> Any:
        return load_chain(folder)

    def services_for(self, params: Mapping[str, Any], log: Any, told: Any = None) -> Any:
        return Services(ScriptedLedger(self))

    def open_run(self, services: Any, chain: Any, revision: Revision, **given: Any) -> Run:
        self.params = given["params"]
        self.reach("open_run")
        caller = given["caller"]
        run = Run(
            id=f"run-{len(self.runs) + 1}",
            revision=revision.id,
            direction=given["direction"],
            status=self.opens_as,
            caller=caller,
            checksum=revision.checksum,
            started_at=datetime.now(timezone.utc),
            params=dict(given["params"]),
        )
        return self.runs.setdefault((caller.dag_id, caller.dag_run_id), run)

    def current_run(self, services: Any, dag_id: str, dag_run_id: str) -> Run:
        run = self.runs.get((dag_id, dag_run_id))
        if run is None:
            raise Refused("no run is open for this DAG run")
        return run

    def change(self, run: Run, **changes: Any) -> Run:
        changed = replace(self.current_run(None, run.caller.dag_id, run.caller.dag_run_id), **changes)
        self.runs[run.caller.dag_id, run.caller.dag_run_id] = changed
        return changed

    def take_backup(self, services: Any, revision: Revision, run: Run, database: Any) -> dict[str, Any]:
        self.reach("take_backup", database.conn_id)
        return {"bytes": 1}

    def prove_backups(self, services: Any, revision: Revision, run: Run) -> dict[str, Any]:
        self.reach("prove_backups")
        self.change(run, backed_up=True)
        return {"bytes": 1}

    def plan_step(
        self, services: Any, revision: Revision, run: Run, phase: str, step: int, *, shards: int
    ) -> list[str]:
        self.reach("plan", phase, step)
        operations = revision.operations("downgrade" if phase == "downgrade" else "upgrade")
        return [f"range {n}" for n in range(self.shards if operations[step - 1].batched else 1)]

    def run_step_shard(
        self, services: Any, revision: Revision, run: Run, phase: str, step: int, shard: int, *, holder: str
    ) -> dict[str, Any]:
        self.reach("shard", phase, step, shard)
        return {"written": 1}

    def run_atomic(
        self, services: Any, revision: Revision, run: Run, phase: str, *, holder: str
    ) -> dict[str, Any]:
        self.reach("atomic", phase)
        return {"written": 1}

    def settle(
        self, services: Any, revision: Revision, run: Run, phase: str, states: Mapping[str, str]
    ) -> dict[str, Any]:
        self.reach("settle", phase)
        unfinished = [place for place in self.asked if phase in place and place not in self.done]
        upgrade = phase == "upgrade" and not any(place[1:2] == ("upgrade",) for place in self.asked[:-1])
        if unfinished or upgrade:
            raise StepsUnfinished(f"{phase} is not complete")
        return {"states": dict(states)}

    def verify(self, services: Any, revision: Revision, run: Run) -> dict[str, Any]:
        self.reach("verify")
        self.change(run, facts={"verified": True})
        return {}

    def way_down(self, services: Any, revision: Revision, run: Run) -> str:
        self.reach("way_down")
        now = self.current_run(None, run.caller.dag_id, run.caller.dag_run_id)
        if not now.backed_up or now.facts.get("verified") or now.status is not RunStatus.OPEN:
            return "none"
        if now.direction == "downgrade":
            return "downgrade"
        wanted = self.wanted(now, "on_failure", "upgrade")
        if wanted == "restore":
            self.change(run, facts={"putting_back": True})
        return {"downgrade": "undo", "restore": "restore"}.get(wanted, "none")

    def wanted(self, run: Run, name: str, failure: str) -> str:
        """Return what the form says, or the person whom it says to ask."""
        said = str(run.params[name])
        last = next((choice for about, choice, _ in reversed(self.chosen) if about == failure), "leave")
        return last if said == "ask" else said

    def question_after_upgrade(self, services: Any, revision: Revision, run: Run) -> Question | None:
        self.reach("question_after_upgrade")
        now = self.current_run(None, run.caller.dag_id, run.caller.dag_run_id)
        if now.direction == "downgrade" or now.facts.get("verified") or now.params["on_failure"] != "ask":
            return None
        return Question(
            subject="What next?", body="It failed.", choices=("retry", "downgrade", "restore", "leave")
        )

    def question_after_way_back(
        self, services: Any, revision: Revision, run: Run, *, tried: bool = False
    ) -> Question | None:
        self.reach("question_after_way_back")
        now = self.current_run(None, run.caller.dag_id, run.caller.dag_run_id)
        if now.facts.get("restored") or now.params["on_undo_failure"] != "ask":
            return None
        if now.facts.get("putting_back") and not tried:
            return None
        return Question(subject="And now?", body="That failed too.", choices=("retry", "restore", "leave"))

    def choose(
        self, services: Any, revision: Revision, run: Run, failure: str, choice: str, *, by: str, at: Any
    ) -> bool:
        assert at is not None
        self.chosen.append((failure, choice, by))
        return True

    def way_after_way_back(self, services: Any, revision: Revision, run: Run) -> str:
        self.reach("way_after_way_back")
        now = self.current_run(None, run.caller.dag_id, run.caller.dag_run_id)
        if now.facts.get("restored"):
            return "none"
        if now.facts.get("putting_back"):
            return "restore"
        return "restore" if self.wanted(now, "on_undo_failure", "way_back") == "restore" else "leave"

    def put_back(self, services: Any, revision: Revision, run: Run) -> dict[str, Any]:
        self.change(run, facts={"putting_back": True})
        self.reach("put_back")
        self.change(run, facts={"restored": True})
        return {}

    def verify_restored(self, services: Any, revision: Revision, run: Run) -> dict[str, Any]:
        self.reach("verify_restored")
        self.change(run, facts={"restored": True})
        return {}

    def record(self, services: Any, revision: Revision, run: Run) -> Run:
        self.reach("record")
        return self.change(run, status=self.ended(run))

    def ended(self, run: Run) -> RunStatus:
        if not run.backed_up:
            return RunStatus.STOPPED
        if run.facts.get("verified"):
            return RunStatus.APPLIED_WITH_QUARANTINE if self.quarantined else RunStatus.APPLIED
        if run.facts.get("restored"):
            return RunStatus.DOWNGRADED if run.direction == "downgrade" else RunStatus.ROLLED_BACK
        return RunStatus.FAILED

    def emit(self, services: Any) -> dict[str, Any]:
        self.reach("emit")
        return {}

    def outcome(self, services: Any, revision: Revision, run: Run) -> dict[str, Any]:
        self.reach("outcome")
        good = (
            RunStatus.APPLIED,
            RunStatus.APPLIED_WITH_QUARANTINE,
            RunStatus.DOWNGRADED,
            RunStatus.NOTHING_TO_DO,
        )
        if run.status not in good:
            raise LockstepError(f"the run is {run.status}")
        return {"status": run.status.value, "revision": revision.id, "records": 1, "seconds": 1.0}

    def note_failure(self, services: Any, run_id: str, where: str, error: BaseException) -> None:
        self.noted.append((where, str(error)))

    def check_way_down(self, services: Any, chain: Any, revisions: list[str], params: Any) -> None:
        self.reach("check_way_down", *revisions)

    def planned(self, services: Any, chain: Any, hops: list[Hop], **given: Any) -> Any:
        return self.plan

    def one_step(self, services: Any, chain: Any, revision: Revision, direction: str, pages: str) -> Any:
        self.reach("one_step", revision.id, direction)
        return self.plan

    def refuse_plan(self, services: Any, plan: Any) -> None:
        self.reach("refuse_plan")

    def approval_wanted(self, services: Any, chain: Any, revision: Revision, *given: Any, **more: Any) -> Any:
        return self.wanted_approvals.pop(0) if self.wanted_approvals else None

    def approve(self, services: Any, marks: Any, caller: Any, *, by: str, at: Any) -> None:
        self.answers.append(("yes", by, [mark.revision for mark in marks]))

    def reject(self, services: Any, marks: Any, caller: Any, *, by: str, at: Any) -> None:
        self.answers.append(("no", by, [mark.revision for mark in marks]))
        raise Refused(f"{by} rejected it")

    def plan_route(self, services: Any, chain: Any, *, target: str, direction: str) -> list[Hop]:
        self.reach("plan_route", target, direction)
        return self.hops
