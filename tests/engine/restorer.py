"""Drive a restore through the engine in the order that the DAG has, task by task, without Airflow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from driver import Crash, Driver

from lockstep.domain.chain import Chain, load_chain
from lockstep.domain.run import Caller, Run
from lockstep.domain.status import RunStatus
from lockstep.engine.emitting import emit
from lockstep.engine.restoring import (
    RestorePlan,
    back_up_overwritten,
    end_restore,
    open_restore,
    plan_restore,
    restore_database,
    restore_outcome,
)
from lockstep.engine.restoring.opening import opened_before
from lockstep.engine.restoring.work import labels


@dataclass
class Restorer:
    """Restores, each as a DAG run of its own, over the stores of a driver."""

    driver: Driver

    @property
    def chain(self) -> Chain:
        return load_chain(self.driver.migrations)

    def alive(self, caller: Caller) -> bool:
        return caller.dag_run_id in self.driver.living

    def plan(
        self,
        backup: str,
        *,
        only: Sequence[str] = (),
        into: Mapping[str, str] | None = None,
        reconcile: bool = True,
    ) -> RestorePlan:
        return plan_restore(
            self.driver.services(self.driver.bomb),
            self.chain,
            backup=backup,
            only=only,
            into=into,
            reconcile=reconcile,
            alive=self.alive,
        )

    def caller(self) -> Caller:
        self.driver.dag_runs += 1
        return Caller(dag_id="restore", dag_run_id=f"restore-{self.driver.dag_runs}", by="ada")

    def open(self, backup: str, caller: Caller | None = None, **asked: Any) -> Run:
        """Open a restore, again after a crash, as a task of one DAG run would."""
        caller = caller or self.caller()
        for _ in range(self.driver.attempts):
            services = self.driver.services(self.driver.bomb)
            try:
                return opened_before(services, self.chain, caller, backup) or open_restore(
                    services,
                    self.chain,
                    self.plan(backup, **asked),
                    caller=caller,
                    params={},
                    alive=self.alive,
                    approved={"approved_by": "grace", "approved_at": "2026-11-22T12:00:00+00:00"},
                )
            except Crash:
                continue
        raise Crash("the last attempt to open it")

    def go(self, backup: str, **asked: Any) -> Run:
        """Restore, from trigger to its end, and return the run as recorded."""
        return self.finish(self.open(backup, **asked))

    def finish(self, run: Run) -> Run:
        """Do every task after open_run."""
        task = self.driver.task
        places = range(len(labels(run)))
        if all(task(run, f"back_up {place}", back_up_overwritten, run, place) for place in places):
            for place in places:
                task(run, f"put_back {place}", restore_database, run, place)
        task(run, "record", end_restore, self.chain, run)
        task(run, "emit", emit)
        return self.driver.services(self.driver.bomb).ledger.run(run.id)

    def outcome(self, run: Run) -> dict[str, Any]:
        return restore_outcome(self.driver.services(self.driver.bomb), run)

    def restored(self, backup: str, **asked: Any) -> Run:
        """Restore, and see that it is through."""
        run = self.go(backup, **asked)
        assert run.status is RunStatus.RESTORED, self.driver.log.text
        assert self.outcome(run)["status"] == "restored"
        return run


@pytest.fixture
def restorer(driver: Driver) -> Restorer:
    return Restorer(driver)
