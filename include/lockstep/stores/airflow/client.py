"""Ask one Airflow, patiently: what is lost on the way is asked again, what is refused is said at once."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

import httpx

from lockstep.domain.errors import Refused
from lockstep.stores.airflow.credentials import Credentials
from lockstep.stores.airflow.errors import AirflowAway, AirflowRefused
from lockstep.stores.airflow.values import DagRun, TaskInstance, dag_run, task_instance

API = "/api/v2"
PAGE = 100
#: redirects that are followed: with several environments a run's page is behind two
REDIRECTS = 3
#: seconds for connecting; an answer may take longer, since a busy server builds its API at the first request
CONNECT, ANSWER = 5.0, 30.0
#: seconds between two tries: the first, and the longest
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
#: answers after which the same request may be taken
_PASSING = frozenset({408, 425, 429})
_OWN_MACHINE = frozenset({"localhost", "127.0.0.1", "::1"})


class AirflowClient:
    """Speak to one Airflow as one service account.

    Every request that may be repeated is, with growing pauses, until `patience` seconds have brought no answer; then
    AirflowAway is raised. A token that ran out is renewed, or read again where somebody else renews it. Runs are
    started under an id, so that to ask twice is to ask once.
    """

    def __init__(
        self,
        address: str,
        credentials: Credentials,
        *,
        patience: float = 30.0,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
        lost: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.address = _checked(address)
        #: seconds without an answer after which it is given up
        self.patience = patience
        self._credentials = credentials
        self._sleep = sleep
        self._clock = clock
        #: told once when Airflow stops to answer, with the reason
        self._lost = lost
        self._token: str | None = None
        self._http = httpx.Client(
            base_url=self.address,
            timeout=httpx.Timeout(ANSWER, connect=CONNECT),
            # A proxy of the environment is for what is far away.
            trust_env=urlsplit(self.address).hostname not in _OWN_MACHINE,
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    # --- questions -----------------------------------------------------------------------------------------

    def dag(self, dag_id: str) -> dict[str, Any]:
        """Return what Airflow knows of a DAG; AirflowRefused, with status 404, where it has none."""
        return self._object("GET", f"{API}/dags/{_part(dag_id)}")

    def run(self, dag_id: str, run_id: str) -> DagRun | None:
        """Return a run, or None where there is none."""
        found = self._found(_run_path(dag_id, run_id))
        return None if found is None else dag_run(found)

    def runs(self, dag_id: str = "~", **filters: Any) -> list[DagRun]:
        """Return the runs of a DAG, or of all, that pass the filters of Airflow's API."""
        path = f"{API}/dags/{_part(dag_id)}/dagRuns"
        return [dag_run(row) for row in self._pages(path, "dag_runs", filters)]

    def tasks(self, dag_id: str, run_id: str) -> list[TaskInstance]:
        """Return the task instances of a run."""
        path = f"{_run_path(dag_id, run_id)}/taskInstances"
        return [task_instance(row) for row in self._pages(path, "task_instances", {})]

    def told(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """Return what a task left behind under a key, or None."""
        path = f"{_task_path(dag_id, run_id, task_id)}/xcomEntries/{_part(key)}"
        found = self._found(path)
        return None if found is None else _plain(found.get("value"))

    def question(self, dag_id: str, run_id: str, task_id: str) -> dict[str, Any] | None:
        """Return the question with which a task waits for a person, or None."""
        return self._found(f"{_task_path(dag_id, run_id, task_id)}/-1/hitlDetails")

    def log(self, dag_id: str, run_id: str, task: TaskInstance) -> list[str]:
        """Return the lines of the log of a task's last try."""
        path = f"{_task_path(dag_id, run_id, task.task_id)}/logs/{max(task.try_number, 1)}"
        found = self._found(path, {"map_index": task.map_index, "full_content": True}) or {}
        content = found.get("content") or []
        return [_line(entry) for entry in (content if isinstance(content, list) else [content])]

    def ledger_entry(self, dag_id: str, run_id: str) -> dict[str, Any] | None:
        """Return what Lockstep's own pages know of a run; an empty one where the ledger never opened it.

        None is no answer, as where the pages are not installed, or are away. They add to what Airflow says: unlike
        Airflow itself they are asked once.
        """
        path = f"/lockstep/dag-runs/{_part(dag_id)}/{_part(run_id)}"
        try:
            answer = self._led(path)
            if answer is None:
                return None
            found = answer.json()
        except (httpx.HTTPError, httpx.InvalidURL, Refused, ValueError, KeyError):
            return None
        if answer.is_success:
            return found if isinstance(found, dict) and found else None
        return {} if _never_opened(answer, found, f"{dag_id} / {run_id}") else None

    # --- what changes something ----------------------------------------------------------------------------

    def start(self, dag_id: str, run_id: str, conf: Mapping[str, Any], note: str | None) -> DagRun:
        """Start a run, or return the one that has this id: it may be ours, the answer to which was lost."""
        path = f"{API}/dags/{_part(dag_id)}/dagRuns"
        body = {"logical_date": None, "dag_run_id": run_id, "conf": dict(conf), "note": note or None}
        answer = self._send("POST", path, json=body)
        if answer.status_code == httpx.codes.CONFLICT:
            found = self.run(dag_id, run_id)
            if found is not None:
                return found
        return dag_run(_read("POST", path, answer))

    # --- for people ----------------------------------------------------------------------------------------

    def run_url(self, dag_id: str, run_id: str) -> str:
        """Return where a person sees a run."""
        return f"{self.address}/dags/{_part(dag_id)}/runs/{_part(run_id)}"

    def task_url(self, dag_id: str, run_id: str, task: TaskInstance) -> str:
        """Return where a person sees a task of a run, with its log."""
        mapped = f"/mapped/{task.map_index}" if task.map_index >= 0 else ""
        return f"{self.run_url(dag_id, run_id)}/tasks/{_part(task.task_id)}{mapped}"

    # --- how -----------------------------------------------------------------------------------------------

    def _pages(self, path: str, name: str, filters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self._object("GET", path, params={**filters, "limit": PAGE, "offset": offset})
            rows = page.get(name) or []
            yield from rows
            offset += len(rows)
            if not rows or offset >= int(page.get("total_entries") or 0):
                return

    def _object(self, method: str, path: str, **arguments: Any) -> dict[str, Any]:
        return _read(method, path, self._send(method, path, **arguments))

    def _found(self, path: str, params: Mapping[str, Any] | None = None) -> dict[str, Any] | None:
        answer = self._send("GET", path, params=dict(params or {}))
        return None if answer.status_code == httpx.codes.NOT_FOUND else _read("GET", path, answer)

    def _send(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Send a request until it is answered by somebody who can, or patience ends."""
        began, pause, told = self._clock(), FIRST_PAUSE, False
        while True:
            try:
                answer = self._once(method, path, arguments)
                if answer.status_code < 500 and answer.status_code not in _PASSING:
                    return answer
                last = f"{answer.status_code} {answer.reason_phrase}".strip()
            except httpx.TransportError as problem:
                last = _why(problem)
            waited = self._clock() - began
            if waited + pause > self.patience:
                raise AirflowAway(self.address, waited, last)
            if not told:
                self._lost(last)
                told = True
            self._sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    def _led(self, path: str) -> httpx.Response | None:
        """Return the answer at the end of a few redirects; None where they do not end, or lead elsewhere."""
        for _ in range(1 + REDIRECTS):
            answer = self._once("GET", path, {"headers": {"Accept": "application/json"}})
            if not answer.has_redirect_location:
                return answer
            there = answer.url.join(answer.headers["location"])
            if _origin(there) != _origin(self._http.base_url):
                return None  # the token is for this Airflow alone
            path = str(there)
        return None

    def _once(self, method: str, path: str, arguments: Mapping[str, Any]) -> httpx.Response:
        """Send a request with a token; with a new one where the first is no good any more."""
        renewed = self._token is None
        answer = self._with_token(method, path, arguments)
        if not renewed and _token_is_bad(answer):
            self._token = None
            answer = self._with_token(method, path, arguments)
        return answer

    def _with_token(self, method: str, path: str, arguments: Mapping[str, Any]) -> httpx.Response:
        if self._token is None:
            self._token = self._new_token()
        headers = {**arguments.get("headers", {}), "Authorization": f"Bearer {self._token}"}
        return self._http.request(method, path, **{**arguments, "headers": headers})

    def _new_token(self) -> str:
        """Return a token: as it is given, or from Airflow for a name and password."""
        given = self._credentials
        if given.token is not None:
            return given.token()
        assert given.password is not None
        login = {"username": given.username, "password": given.password()}
        answer = self._http.post("/auth/token", json=login)
        if answer.status_code >= 500 or answer.status_code in _PASSING:
            raise httpx.RemoteProtocolError(f"{answer.status_code} {answer.reason_phrase}".strip())
        token = _read("POST", "/auth/token", answer).get("access_token")
        if not isinstance(token, str):
            raise AirflowRefused("POST", "/auth/token", answer.status_code, "an answer without a token")
        return token


def _checked(address: str) -> str:
    """Return an address without its last slash; Refused where it is none, or holds a password."""
    parts = urlsplit(address.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Refused(
            "LOCKSTEP_AIRFLOW_URL is no address of an Airflow: write one such as https://airflow.example.com."
        )
    if parts.username or parts.password:
        raise Refused(
            "LOCKSTEP_AIRFLOW_URL holds a name or a password: addresses are shown in logs. Put them into "
            "LOCKSTEP_AIRFLOW_USERNAME and LOCKSTEP_AIRFLOW_PASSWORD."
        )
    return address.strip().rstrip("/")


def _token_is_bad(answer: httpx.Response) -> bool:
    """Say whether a token ran out, or is not of this Airflow any more, as after a restart with another secret."""
    if answer.status_code == httpx.codes.UNAUTHORIZED:
        return True
    return answer.status_code == httpx.codes.FORBIDDEN and "JWT" in answer.text


def _origin(url: httpx.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _never_opened(answer: httpx.Response, found: Any, run: str) -> bool:
    """Say whether the ledger itself says that it has no such run: a page that is missing names none."""
    detail = found.get("detail") if isinstance(found, dict) else None
    return answer.status_code == httpx.codes.NOT_FOUND and isinstance(detail, str) and run in detail


def _read(method: str, path: str, answer: httpx.Response) -> dict[str, Any]:
    """Return the object in an answer; AirflowRefused where it is none or says no."""
    if not answer.is_success:
        raise AirflowRefused(method, path, answer.status_code, _detail(answer))
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise AirflowRefused(
            method, path, answer.status_code, "an answer that is no JSON: is this an Airflow?"
        )
    return found


def _detail(answer: httpx.Response) -> str:
    """Return Airflow's own words for a refusal."""
    try:
        detail = answer.json()["detail"]
    except (ValueError, KeyError, TypeError):
        return answer.text
    return detail if isinstance(detail, str) else json.dumps(detail)


def _why(problem: httpx.TransportError) -> str:
    return str(problem) or type(problem).__name__


def _part(text: str) -> str:
    return quote(text, safe="~")


def _run_path(dag_id: str, run_id: str) -> str:
    return f"{API}/dags/{_part(dag_id)}/dagRuns/{_part(run_id)}"


def _task_path(dag_id: str, run_id: str, task_id: str) -> str:
    return f"{_run_path(dag_id, run_id)}/taskInstances/{_part(task_id)}"


def _plain(value: Any) -> Any:
    """Return a task's value: Airflow hands some out as the JSON that it stores."""
    if isinstance(value, str):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _line(entry: Any) -> str:
    """Return an entry of a log as a line: when, what, and the error that goes with it."""
    if not isinstance(entry, dict):
        return str(entry)
    at = str(entry.get("timestamp") or "")[11:19]
    level = str(entry.get("level") or "").upper()
    return " ".join(
        part for part in (at, level if level not in ("", "INFO") else "", str(entry.get("event"))) if part
    )
