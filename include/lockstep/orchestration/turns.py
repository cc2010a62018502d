"""Wait for one's turn: of the runs that move one environment, one moves it; the others wait, and plan after it.

A run of migrate or rollback waits for those that were asked for before it, and for any that has planned already. Who
comes first follows from when a run was asked for, which no clearing changes, so that two never wait for each other.
A task that decides is `running` before it looks around, and of two that look at the same moment at least one sees the
other: the later one steps back, and the earlier one looks again.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.triggers.base import BaseTrigger, TriggerEvent

from lockstep.domain.errors import Refused
from lockstep.orchestration.callers import run_is
from lockstep.orchestration.holding import GO_ON
from lockstep.orchestration.polling import poll

if TYPE_CHECKING:
    from lockstep.domain.revision import Direction
    from lockstep.orchestration.tasks.base import Desk

#: the DAGs whose runs move the chain from one revision to another
ROUTES = ("migrate", "rollback")
#: XCom key under which the first task says which runs it waits for
WAITS_FOR = "waits_for"
#: seconds after which a waiting task looks around again, whatever became of the runs that it waits for
AGAIN = 300.0
_RUNNING = "running"
#: states of the last task in which a run moves nothing any more
_OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
#: states of the first task of a run that has planned, or is about to
_PLANNED, _PLANNING = "success", "running"


@dataclass(frozen=True, kw_only=True)
class Ahead:
    """Another run that moves the same environment."""

    dag_id: str
    run_id: str
    #: who asked for it
    by: str
    #: whether it was asked for before this one
    older: bool
    #: Airflow's state of its first task
    plan: str | None

    @property
    def goes_first(self) -> bool:
        """Whether it goes first for sure; if not, it may be about to step back."""
        return self.older or self.plan == _PLANNED


def wait_turn(desk: Desk, direction: Direction) -> None:
    """Return when this run may plan; raise TaskDeferred, holding no worker, while another goes first.

    A dry run moves nothing, and waits for nobody. Raises Refused for a step back from a place that another run is
    about to change.
    """
    if desk.params.get("dry_run"):
        return
    ahead = sorted(runs_ahead(desk), key=lambda one: not one.goes_first)
    if not ahead:
        return
    first = ahead[0]
    if first.goes_first and direction == "downgrade" and desk.params.get("target") == "previous":
        raise Refused(
            f"{_named(first)} moves the chain, so that one step back would be another step once that has ended. Wait "
            f"for its end, or name the revision that is to stand as the target.",
            dag_id=first.dag_id,
            dag_run_id=first.run_id,
        )
    _tell(desk, ahead)
    until = datetime.now(timezone.utc) + timedelta(seconds=AGAIN)
    waited = [[one.dag_id, one.run_id, one.older] for one in ahead]
    desk.task.defer(trigger=TurnCame(waited, until.isoformat()), method_name=GO_ON)


def runs_ahead(desk: Desk) -> Iterator[Ahead]:
    """Yield the runs of the same environment that may move it before this one."""
    mine = desk.context["dag_run"]
    environment = _environment(mine.conf)
    for dag_id in ROUTES:
        for run_id, plan in _unfinished(dag_id, mine):
            other = _dag_run(dag_id, run_id)
            if other is None or not _moves(other, environment):
                continue
            one = Ahead(
                dag_id=dag_id,
                run_id=run_id,
                by=getattr(other, "triggering_user_name", None) or "unknown",
                older=_order(other) < _order(mine),
                plan=plan,
            )
            if _blocks(older=one.older, plan=plan) and not _stands_still(one):
                yield one


def _blocks(*, older: bool, plan: str | None) -> bool:
    """Say whether a run that goes on has to be waited for. The trigger and the task must agree on it."""
    return older or plan in (_PLANNED, _PLANNING)


def _unfinished(dag_id: str, mine: Any) -> Iterator[tuple[str, str | None]]:
    """Yield the other runs of a DAG whose last task has not ended, with the state of their first."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from lockstep.orchestration.tasks.follow import FOLLOW, PLAN

    own = mine.run_id if mine.dag_id == dag_id else None
    # The states of a DAG's tasks come for every run there ever was: mostly nobody else runs, which is cheaper to ask.
    if RuntimeTaskInstance.get_dr_count(dag_id=dag_id, states=[_RUNNING]) <= (own is not None):
        return
    found = RuntimeTaskInstance.get_task_states(dag_id=dag_id, task_ids=[PLAN, FOLLOW])
    for run_id, tasks in found.items():
        if run_id != own and _state(tasks, FOLLOW) not in _OVER:
            yield run_id, _state(tasks, PLAN)


def _state(tasks: Mapping[str, Any], task_id: str) -> str | None:
    state = tasks.get(task_id)
    return None if state is None else str(getattr(state, "value", state))


def _dag_run(dag_id: str, run_id: str) -> Any:
    """Return a run as Airflow knows it; None for one that was deleted."""
    from airflow.sdk.execution_time import task_runner
    from airflow.sdk.execution_time.comms import GetDagRun

    try:
        return task_runner.SUPERVISOR_COMMS.send(GetDagRun(dag_id=dag_id, run_id=run_id))
    except AirflowRuntimeError as problem:
        if (problem.error.detail or {}).get("status_code") == 404:
            return None
        raise


def _moves(dag_run: Any, environment: Any) -> bool:
    """Say whether a run is going on, in earnest, in this environment.

    A queued one is not waited for: this one may hold the place that it needs. It waits for this one instead.
    """
    conf = dag_run.conf or {}
    state = getattr(dag_run.state, "value", dag_run.state)
    return state == _RUNNING and not conf.get("dry_run") and _environment(conf) == environment


def _environment(conf: Mapping[str, Any] | None) -> Any:
    """Return the environment that a run was asked for, or what the form means that says nothing."""
    from lockstep.orchestration.params import route_params

    param = route_params("head", "").get("environment")
    otherwise = None if param is None else param.value
    return (conf or {}).get("environment", otherwise)


def _order(dag_run: Any) -> tuple[datetime, str, str]:
    """Return what says which of two runs was asked for first: the same for as long as they exist."""
    return dag_run.run_after, dag_run.dag_id, dag_run.run_id


def _stands_still(one: Ahead) -> bool:
    """Say whether a run cannot even begin since its DAG is paused; it plans when somebody unpauses it."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    if one.plan in (_PLANNED, _PLANNING):
        return False
    return bool(RuntimeTaskInstance.get_dag(one.dag_id).is_paused)


def _named(one: Ahead) -> str:
    return f"run {one.run_id!r} of {one.dag_id}, which {one.by} asked for,"


def _tell(desk: Desk, ahead: list[Ahead]) -> None:
    from lockstep.orchestration.links import dag_run_url

    for one in ahead:
        what = "goes first" if one.goes_first else "is looking around, too"
        desk.log.info(
            f"WAITING FOR ITS TURN: {_named(one)} {what}. This run plans once that one has ended; the worker is free "
            f"meanwhile. See: {dag_run_url(one.dag_id, one.run_id)}"
        )
    said = [{"dag_id": one.dag_id, "run_id": one.run_id, "by": one.by} for one in ahead]
    desk.ti.xcom_push(key=WAITS_FOR, value=said)


class TurnCame(BaseTrigger):
    """Fire when none of some runs has to be waited for any more, and at a moment in any case."""

    def __init__(self, waited: list[list[Any]], until: str, seconds: float = 1.0) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        #: DAG id, run id, and whether that run was asked for before the one that waits
        self.waited = waited
        #: ISO 8601, so that another triggerer that takes it over waits for the same moment
        self.until = until
        #: seconds between two questions
        self.seconds = seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            f"{__name__}.{type(self).__name__}",
            {"waited": self.waited, "until": self.until, "seconds": self.seconds},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Ask until it is so."""
        await poll(self.free, self.seconds, until=datetime.fromisoformat(self.until))
        yield TriggerEvent({"waited": self.waited})  # type: ignore[no-untyped-call]

    def free(self) -> bool | None:
        """Return True once none of the runs has to be waited for any more."""
        blocked = any(_still_blocks(dag_id, run_id, older) for dag_id, run_id, older in self.waited)
        return None if blocked else True


def _still_blocks(dag_id: str, run_id: str, older: bool) -> bool:
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    from lockstep.orchestration.tasks.follow import PLAN

    if not run_is(dag_id, run_id, _RUNNING):
        return False
    found = RuntimeTaskInstance.get_task_states(dag_id=dag_id, task_ids=[PLAN], run_ids=[run_id])
    return _blocks(older=older, plan=_state(found.get(run_id, {}), PLAN))
