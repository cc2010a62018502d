"""A small HTTP server that answers as Airflow's API does, from what a test puts into it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

PASSWORD = "swordfish-9"
BEGAN, ENDED = "2031-05-01T10:00:00Z", "2031-05-01T10:00:05Z"


def row(dag_id: str, run_id: str, state: str, conf: dict[str, Any]) -> dict[str, Any]:
    """Return a run as the API shows it."""
    over = state in ("success", "failed")
    return {
        "dag_id": dag_id,
        "dag_run_id": run_id,
        "state": state,
        "start_date": BEGAN,
        "end_date": ENDED if over else None,
        "conf": conf,
        "triggering_user_name": "deploy",
    }


def task(task_id: str, state: str | None, **more: Any) -> dict[str, Any]:
    return {
        "task_id": task_id,
        "map_index": -1,
        "state": state,
        "try_number": 1,
        "rendered_map_index": None,
        "start_date": BEGAN,
        "end_date": ENDED,
        **more,
    }


@dataclass
class ScriptedAirflow:
    """What the server knows; a test changes it while it is asked."""

    dags: dict[str, dict[str, Any]] = field(default_factory=lambda: {"migrate": {"is_paused": False}})
    runs: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    tasks: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    #: (run, task, key) → value
    left: dict[tuple[str, str, str], Any] = field(default_factory=dict)
    logs: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    questions: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    #: (dag, run) → the page of the ledger's run
    entries: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    #: path → the location to which it leads
    leads: dict[str, str] = field(default_factory=dict)
    #: path → status and body of any other page of Lockstep's
    pages: dict[str, tuple[int, Any]] = field(default_factory=dict)
    #: how the next requests for Lockstep's pages fail, as in faults
    page_faults: list[str] = field(default_factory=list)
    #: what is asked for, "POST /path"
    asked: list[str] = field(default_factory=list)
    #: how many of the next requests are answered by a failure: "503", or "cut" for no answer at all
    faults: list[str] = field(default_factory=list)
    tokens: set[str] = field(default_factory=set)
    #: called with a run that was just started
    on_start: Callable[[dict[str, Any]], None] = lambda run: None
    #: called at each look at a run
    on_look: Callable[[int], None] = lambda look: None
    looks: int = 0

    def started(self) -> list[str]:
        return [run_id for dag_id, run_id in self.runs if dag_id == "migrate"]

    def add(self, dag_id: str, run_id: str, state: str, *tasks: dict[str, Any], **conf: Any) -> None:
        self.runs[dag_id, run_id] = row(dag_id, run_id, state, conf)
        self.tasks[dag_id, run_id] = list(tasks)

    # --- answers: a status and a body ----------------------------------------------------------------------

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any) -> tuple[int, Any]:
        parts = [unquote(part) for part in path.strip("/").split("/")]
        if parts[0] == "lockstep":
            return self.pages.get(path) or self.entry(parts[2], parts[3])
        rest = parts[3:]  # api v2 dags …
        if len(rest) == 1:
            return self.one(self.dags.get(rest[0]), f"Dag with dag_id: '{rest[0]}' not found")
        if rest[1:] == ["dagRuns"]:
            return self.start(rest[0], body) if method == "POST" else self.list(rest[0], query)
        return self.of_run(rest[0], rest[2], rest[3:])

    def entry(self, dag_id: str, run_id: str) -> tuple[int, Any]:
        words = f"the ledger has no run of {dag_id} / {run_id}: it was not opened"
        return self.one(self.entries.get((dag_id, run_id)), words)

    def of_run(self, dag_id: str, run_id: str, rest: list[str]) -> tuple[int, Any]:
        if not rest:
            if dag_id == "migrate":
                self.looks += 1
                self.on_look(self.looks)
            return self.one(self.runs.get((dag_id, run_id)), "no such run")
        if len(rest) == 1:
            return self.page("task_instances", self.tasks.get((dag_id, run_id), []))
        if rest[2] == "xcomEntries":
            value = self.left.get((run_id, rest[1], rest[3]))
            return self.one(None if value is None else {"value": value}, "no such entry")
        if rest[2] == "logs":
            lines = [{"event": line, "timestamp": BEGAN} for line in self.logs.get((run_id, rest[1]), [])]
            return 200, {"content": lines}
        return self.one(self.questions.get((run_id, rest[1])), "no question")

    def start(self, dag_id: str, body: dict[str, Any]) -> tuple[int, Any]:
        assert body["logical_date"] is None
        key = (dag_id, body["dag_run_id"])
        if key in self.runs:
            return 409, {"detail": "there is one"}
        self.add(*key, "queued", **body["conf"])
        self.on_start(self.runs[key])
        return 200, self.runs[key]

    def list(self, dag_id: str, query: dict[str, list[str]]) -> tuple[int, Any]:
        named = (query.get("dag_id_prefix_pattern") or [""])[0]
        prefix = (query.get("run_id_prefix_pattern") or [""])[0]
        since = (query.get("updated_at_gte") or [""])[0].replace("+00:00", "Z")
        found = [
            run
            for (dag, run_id), run in self.runs.items()
            if dag_id in ("~", dag)
            and dag.startswith(named)
            and run_id.startswith(prefix)
            and (run["end_date"] or "9") >= since
        ]
        return self.page("dag_runs", found)

    @staticmethod
    def one(found: Any, missing: str) -> tuple[int, Any]:
        return (404, {"detail": missing}) if found is None else (200, found)

    @staticmethod
    def page(name: str, rows: list[dict[str, Any]]) -> tuple[int, Any]:
        return 200, {name: rows, "total_entries": len(rows)}


class Handler(BaseHTTPRequestHandler):
    """One connection to it."""

    airflow: ScriptedAirflow
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.handle_it("GET")

    def do_POST(self) -> None:
        self.handle_it("POST")

    def handle_it(self, method: str) -> None:
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"null")
        parts = urlsplit(self.path)
        self.airflow.asked.append(f"{method} {parts.path}")
        faults = self.airflow.faults
        if not faults and parts.path.startswith("/lockstep/"):
            faults = self.airflow.page_faults
        fault = faults.pop(0) if faults else None
        if fault == "cut":
            self.close_connection = True
            self.connection.close()
            return
        self.reply(*((int(fault), {"detail": "broken"}) if fault else self.found(method, parts, body)))

    def found(self, method: str, parts: Any, body: Any) -> tuple[int, Any]:
        if parts.path == "/auth/token":
            if body["password"] != PASSWORD:
                return 401, {"detail": "Invalid credentials"}
            token = f"token-{len(self.airflow.tokens)}"
            self.airflow.tokens = {token}
            return 201, {"access_token": token}
        if (self.headers.get("Authorization") or "").removeprefix("Bearer ") not in self.airflow.tokens:
            return 401, {"detail": "Token Expired"}
        if parts.path in self.airflow.leads:
            return 307, None
        return self.airflow.answer(method, parts.path, parse_qs(parts.query), body)

    def reply(self, status: int, body: Any) -> None:
        html = isinstance(body, str)
        data = body.encode() if html else json.dumps(body).encode()
        self.send_response(status)
        if status == 307:
            self.send_header("Location", self.airflow.leads[urlsplit(self.path).path])
        self.send_header("Content-Type", "text/html" if html else "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        """Say nothing."""


@contextmanager
def served(airflow: ScriptedAirflow) -> Iterator[str]:
    """Serve it on a free port of this machine; return its address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Its", (Handler,), {"airflow": airflow}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
