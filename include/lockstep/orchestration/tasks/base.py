"""What every task does around its own work: find its run, do it, and tell what went wrong."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.sdk.exceptions import AirflowException, DownstreamTasksSkipped

from lockstep.domain.errors import Held, LockstepError
from lockstep.orchestration.callers import parent_of
from lockstep.orchestration.environments import environment_of, pages_of
from lockstep.orchestration.links import LINKS
from lockstep.orchestration.logs import TaskLog
from lockstep.orchestration.metrics import came_back

if TYPE_CHECKING:
    from lockstep.domain.chain import Chain
    from lockstep.domain.progress import Phase
    from lockstep.domain.revision import Revision
    from lockstep.domain.run import Run
    from lockstep.engine.services import Services
    from lockstep.orchestration.shape import Shape


#: key of a task's state store that says how far it is
PROGRESS = "progress"


def skipping(tasks: Iterable[str]) -> AirflowException:
    """Return what to raise so that this task succeeds and these are left out, all at once."""
    return DownstreamTasksSkipped(tasks=list(tasks))  # type: ignore[no-untyped-call]


class Desk:
    """What a task works with, each loaded when it is first asked for."""

    def __init__(self, task: LockstepTask, context: Any) -> None:
        self.task = task
        self.context = context
        self.ti = context["ti"]
        self.log = TaskLog()
        #: what is being done, for the words at a failure
        self.doing = task.task_id
        #: the engine's step that is being worked on, for the same
        self.step_phase: Phase | None = None
        self.step: int | None = None

    @property
    def params(self) -> dict[str, Any]:
        return dict(self.context["params"])

    @cached_property
    def revision(self) -> Revision:
        from lockstep.orchestration import calls

        return calls.load_revision(Path(self.task.path))

    @cached_property
    def chain(self) -> Chain:
        from lockstep.orchestration import calls

        path = Path(self.task.path)
        return calls.load_chain(path if path.is_dir() else path.parent)

    @cached_property
    def shape(self) -> Shape:
        from lockstep.orchestration.shape import shape_of

        return shape_of(self.revision)

    @cached_property
    def services(self) -> Services:
        from lockstep.orchestration import calls

        return calls.services_for(self.params, self.log, self.show)

    @cached_property
    def run(self) -> Run:
        """The ledger's run of this DAG run; Refused where there is none."""
        from lockstep.orchestration import calls

        found = calls.current_run(self.services, self.ti.dag_id, self.ti.run_id)
        self.task.ledger_run = found.id
        return found

    @property
    def phase(self) -> Phase:
        """What the downgrade group does in this run."""
        return "undo" if self.run.direction == "upgrade" else "downgrade"

    @property
    def holder(self) -> str:
        """Name this try of this task on this machine, for the lease."""
        place = f"{self.ti.task_id}[{self.ti.map_index}]" if self.ti.map_index >= 0 else self.ti.task_id
        return f"{self.ti.run_id}/{place} try {self.ti.try_number} on {socket.gethostname()}:{os.getpid()}"

    def show(self, facts: Mapping[str, Any]) -> None:
        """Keep what a shard came to where Airflow's UI shows it, as far as possible: it is no record."""
        with suppress(Exception):
            known = {name: value for name, value in facts.items() if value is not None}
            self.context["task_state_store"].set(PROGRESS, known)

    def states(self, tasks: tuple[str, ...]) -> dict[str, str]:
        """Return Airflow's states of tasks in this run; a mapped one is `<task_id>_<map_index>`."""
        found = self.ti.get_task_states(
            dag_id=self.ti.dag_id, task_ids=list(tasks), run_ids=[self.ti.run_id]
        ).get(self.ti.run_id, {})
        return {task: str(getattr(state, "value", state)) for task, state in found.items()}

    def was_opened(self) -> bool:
        """Say whether open_run ended well, whatever the ledger says now."""
        from lockstep.orchestration.shape import OPEN_RUN

        return self.states((OPEN_RUN,)).get(OPEN_RUN) == "success"


class LockstepTask(BaseOperator):
    """A task. It holds the file of its revision, or the folder of all; everything else is in the ledger."""

    ui_color = "#e8f0f7"
    operator_extra_links: Collection[BaseOperatorLink] = LINKS
    #: the ledger's run, once known; the links show it
    ledger_run: str | None = None
    #: path of the environment's pages, where there are several environments; the links lead there
    pages: str = ""
    #: the run that triggered this one, as "dag_id/run_id"
    triggered_by: str | None = None

    def __init__(self, *, path: str = "", **arguments: Any) -> None:
        super().__init__(**arguments)
        self.path = path

    def execute(self, context: Any) -> Any:
        return self.guarded(context, self.work)

    def go_on(
        self,
        context: Any,
        event: Any = None,
        since: str | None = None,
        before: str | None = None,
        left: str | None = None,
    ) -> Any:
        """Do what is left after a hold, which began `since` for the reason `before`; `left`: its worker, when."""
        came_back(context, left)
        return self.guarded(context, self.work, since, before)

    def guarded(
        self,
        context: Any,
        work: Callable[[Desk], Any],
        since: str | None = None,
        before: str | None = None,
    ) -> Any:
        """Do some work; give the worker back where it is held, and tell of it where it fails."""
        desk = Desk(self, context)
        self.triggered_by = parent_of(context["dag_run"])
        with suppress(LockstepError):
            self.pages = pages_of(environment_of(desk.params))
        try:
            return work(desk)
        except Held as held:
            from lockstep.orchestration.holding import given_back

            raise given_back(desk, held, since, before) from None
        except (AirflowException, DownstreamTasksSkipped):
            raise  # skips and deferrals: how a task says to Airflow what follows
        except Exception as error:
            from lockstep.orchestration.failures import failed

            raise failed(desk, error) from error

    def work(self, desk: Desk) -> Any:
        """Do what this kind of task is for; what it returns is small and shown in Airflow."""
        raise NotImplementedError

    def where(self, desk: Desk) -> str:
        """Say for the failure's words what this task was about."""
        return desk.doing

    def after_failure(self, desk: Desk) -> str:
        """Say for the failure's words what happens next."""
        return "The tasks after it see to the rest; the last one, outcome, tells how the run ended."
