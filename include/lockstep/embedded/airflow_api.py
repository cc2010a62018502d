"""A small client of the embedded Airflow's REST API: what the demo and a test need of it."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from lockstep.embedded.airflow_errors import AirflowRefusedError, RunTooSlowError
from lockstep.stores.airflow.values import ENDED, DagRun, TaskInstance, dag_run, task_instance

__all__ = ["API", "ENDED", "AirflowApi", "DagRun", "ImportProblem", "TaskInstance"]

API = "/api/v2"
PAGE = 100
TIMEOUT = 30.0


@dataclass(frozen=True, kw_only=True)
class ImportProblem:
    """What was wrong with a DAG file."""

    file: str
    text: str


class AirflowApi:
    """Speak to one Airflow as one user; log in when it is first needed, and again when the token ran out."""

    def __init__(self, base_url: str, user: str, password: str) -> None:
        self.base_url = base_url
        self.user = user
        self._password = password
        self._http = httpx.Client(base_url=base_url, timeout=TIMEOUT, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def token(self) -> str:
        """Log in and return a token."""
        given = {"username": self.user, "password": self._password}
        answer = self._http.post("/auth/token", json=given)
        if answer.status_code != httpx.codes.CREATED:
            raise AirflowRefusedError("POST", "/auth/token", answer.status_code, answer.text)
        token: str = answer.json()["access_token"]
        return token

    def health(self) -> dict[str, Any]:
        """Return what Airflow says about its parts; needs no login."""
        return self._answer("GET", f"{API}/monitor/health", self._http.get(f"{API}/monitor/health"))

    def warm(self, seconds: float) -> None:
        """Let the server build the API that tasks speak, which it does at the first request and all at once.

        That takes it seconds of processor time, in which it answers nobody: on a busy machine the first task
        would be given up meanwhile. Needs no login.
        """
        self._http.get("/execution/health", timeout=seconds).raise_for_status()

    def dags(self) -> dict[str, dict[str, Any]]:
        """Return every DAG by its id."""
        return {one["dag_id"]: one for one in self._pages(f"{API}/dags", "dags")}

    def import_errors(self) -> list[ImportProblem]:
        """Return what is wrong with DAG files."""
        found = self._pages(f"{API}/importErrors", "import_errors")
        return [ImportProblem(file=one["filename"], text=one["stack_trace"]) for one in found]

    def add_pool(self, name: str, pool: Mapping[str, Any]) -> None:
        """Make a pool; one of that name that is there stays as it is. Needs the role ADMIN or OP."""
        path = f"{API}/pools"
        answer = self._send("POST", path, json={"name": name, **pool})
        if answer.status_code != httpx.codes.CONFLICT:
            self._answer("POST", path, answer)

    def trigger(
        self, dag_id: str, run_id: str, conf: Mapping[str, Any] | None = None, note: str | None = None
    ) -> DagRun:
        """Start a run, or return the one that has this id already."""
        body = {"logical_date": None, "dag_run_id": run_id, "conf": dict(conf or {}), "note": note}
        path = f"{API}/dags/{dag_id}/dagRuns"
        answer = self._send("POST", path, json=body)
        if answer.status_code == httpx.codes.CONFLICT:
            return self.run(dag_id, run_id)
        return dag_run(self._answer("POST", path, answer))

    def run(self, dag_id: str, run_id: str) -> DagRun:
        """Return a run."""
        return dag_run(self.get(f"{API}/dags/{dag_id}/dagRuns/{run_id}"))

    def runs(self, dag_id: str = "~", **filters: Any) -> list[DagRun]:
        """Return the runs of a DAG, or of all."""
        return [dag_run(one) for one in self._pages(f"{API}/dags/{dag_id}/dagRuns", "dag_runs", **filters)]

    def latest_runs(self, limit: int, dag_id: str = "~") -> list[DagRun]:
        """Return the newest runs of a DAG, or of all; at most 100."""
        page = self.get(f"{API}/dags/{dag_id}/dagRuns", order_by="-id", limit=limit)
        return [dag_run(one) for one in page["dag_runs"]]

    def tasks(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return the task instances of a run."""
        path = f"{API}/dags/{dag_id}/dagRuns/{run_id}/taskInstances"
        return [task_instance(one) for one in self._pages(path, "task_instances")]

    def log(self, dag_id: str, run_id: str, task: TaskInstance) -> list[dict[str, Any]]:
        """Return the entries of the log of a task's last try."""
        path = f"{API}/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task.task_id}/logs/{task.try_number}"
        given = {"map_index": task.map_index, "full_content": True}
        entries = self.get(path, **given)["content"]
        return [one if isinstance(one, dict) else {"event": one} for one in entries]

    def wait(
        self,
        dag_id: str,
        run_id: str,
        *,
        seconds: float,
        every: float = 0.5,
        look: Callable[[DagRun], None] = lambda _: None,
    ) -> DagRun:
        """Poll a run until it is over; `look` sees every answer."""
        limit = time.monotonic() + seconds
        while True:
            run = self.run(dag_id, run_id)
            look(run)
            if run.over:
                return run
            if time.monotonic() > limit:
                raise RunTooSlowError(dag_id, run_id, run.state, seconds)
            time.sleep(every)

    def get(self, path: str, **params: Any) -> dict[str, Any]:
        """Return the answer to a GET."""
        return self._answer("GET", path, self._send("GET", path, params=params))

    def post(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return the answer to a POST."""
        return self._answer("POST", path, self._send("POST", path, json=dict(body)))

    def answer(
        self, dag_id: str, run_id: str, task_id: str, choice: str, *, map_index: int = -1
    ) -> dict[str, Any]:
        """Answer the question that a task waits with; one that was answered already is refused (409)."""
        path = f"{API}/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/{map_index}/hitlDetails"
        body = {"chosen_options": [choice], "params_input": {}}
        return self._answer("PATCH", path, self._send("PATCH", path, json=body))

    def question(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1) -> dict[str, Any]:
        """Return the question that a task waits with, and its answer once there is one."""
        return self.get(
            f"{API}/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/{map_index}/hitlDetails"
        )

    def run_url(self, dag_id: str, run_id: str) -> str:
        """Return where a person sees a run."""
        return f"{self.base_url}/dags/{dag_id}/runs/{run_id}"

    def _pages(self, path: str, name: str, **params: Any) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self.get(path, limit=PAGE, offset=offset, **params)
            yield from page[name]
            offset += len(page[name])
            if not page[name] or offset >= page["total_entries"]:
                return

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        if "Authorization" in self._http.headers:
            answer = self._http.request(method, path, **arguments)
            if answer.status_code != httpx.codes.UNAUTHORIZED:
                return answer
        self._http.headers["Authorization"] = f"Bearer {self.token()}"
        return self._http.request(method, path, **arguments)

    @staticmethod
    def _answer(method: str, path: str, answer: httpx.Response) -> dict[str, Any]:
        if not answer.is_success:
            raise AirflowRefusedError(method, path, answer.status_code, answer.text)
        found: dict[str, Any] = answer.json()
        return found
