"""Two pages for each run of the ledger, as HTML for people and JSON for programs."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from lockstep.domain.errors import LockstepError
from lockstep.domain.run import Run
from lockstep.web.page import facts, link, page, table
from lockstep.web.read import Reader

#: says whether who asks may read the runs of a DAG; as a dependency it refuses who is not logged in
MayRead = Callable[[str], bool]
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def create_app(reader: Reader, may_read: Callable[..., MayRead]) -> FastAPI:
    """Return the app. Every route asks `may_read`, so none answers a stranger."""
    app = FastAPI(title="Lockstep", docs_url=None, redoc_url=None, openapi_url=None)
    permission = Depends(may_read)

    def readable(run_id: str, allowed: Annotated[MayRead, permission]) -> Run:
        """Return a run that the asker may read."""
        run = _asked(lambda: reader.run(run_id))
        return _permitted(run, allowed)

    @app.get("/runs/{run_id}")
    def entry(request: Request, run: Annotated[Run, Depends(readable)]) -> Response:
        found = _asked(lambda: reader.entry(run))
        if not _wants_html(request):
            return JSONResponse(found, headers=_HEADERS)
        return HTMLResponse(_entry_page(found, _run_url(request, run.id)), headers=_HEADERS)

    @app.get("/runs/{run_id}/backup")
    def backup(request: Request, run: Annotated[Run, Depends(readable)]) -> Response:
        found = _asked(lambda: reader.manifests(run))
        if not _wants_html(request):
            return JSONResponse(found, headers=_HEADERS)
        return HTMLResponse(_backup_page(run, found, _run_url(request, run.id)), headers=_HEADERS)

    @app.get("/dag-runs/{dag_id}/{dag_run_id}")
    @app.get("/dag-runs/{dag_id}/{dag_run_id}/backup")
    def by_dag_run(
        request: Request, dag_id: str, dag_run_id: str, allowed: Annotated[MayRead, permission]
    ) -> Response:
        if not allowed(dag_id):
            raise HTTPException(403, f"you may not read the runs of {dag_id}")
        run = _asked(lambda: reader.run_of(dag_id, dag_run_id))
        if run is None:
            raise HTTPException(404, f"the ledger has no run of {dag_id} / {dag_run_id}: it was not opened")
        end = "/backup" if request.url.path.endswith("/backup") else ""
        return RedirectResponse(_run_url(request, run.id) + end, headers=_HEADERS)

    return app


def _asked(question: Callable[[], Any]) -> Any:
    """Return an answer of the ledger, or the HTTP error that its refusal means."""
    try:
        return question()
    except LockstepError as problem:
        raise HTTPException(503 if problem.transient else 404, str(problem)) from problem


def _permitted(run: Run, allowed: MayRead) -> Run:
    if not allowed(run.caller.dag_id):
        raise HTTPException(403, f"you may not read the runs of {run.caller.dag_id}")
    return run


def _wants_html(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _run_url(request: Request, run_id: str) -> str:
    return f"{request.scope.get('root_path', '')}/runs/{quote(run_id, safe='')}"


def _entry_page(found: dict[str, Any], url: str) -> str:
    run = dict(found["run"])
    caller = run.pop("caller")
    shown = {
        name: run.pop(name) for name in ("revision", "direction", "status", "error", "started_at", "ended_at")
    }
    return page(
        f"Run {run.pop('id')}",
        facts("What happened", shown),
        facts("Who asked", caller),
        table("Shards", found["shards"]),
        table("History", [_told(entry) for entry in found["history"]]),
        facts("The rest", {**run, "backups": found["backups"]}),
        link("Backup manifests", f"{url}/backup"),
    )


def _told(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return a history entry as a person reads it; the JSON has all of it."""
    change = f"{entry.get('from_status')} → {entry['to_status']}" if entry.get("to_status") else entry["kind"]
    return {
        "at": str(entry.get("at", ""))[:19],
        "what": change,
        "why": entry.get("reason"),
        "who": entry.get("who"),
        "detail": entry.get("detail"),
        "hash": str(entry.get("hash", ""))[:12],
    }


def _backup_page(run: Run, found: list[dict[str, Any]], url: str) -> str:
    parts = []
    for manifest in found:
        files = manifest.pop("files")
        name = f"{manifest['conn_id']}: {manifest['size']} bytes"
        parts += [facts(name, manifest), table("Files", files)]
    empty = "" if found else "<p>No proven backup.</p>"
    return page(f"Backups of run {run.id}", link("The run", url), empty, *parts)
