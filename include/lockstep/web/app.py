"""Two pages for each run of the ledger, as HTML for people and JSON for programs; a run can be paused here."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from lockstep.domain.run import Run
from lockstep.web.asking import Asker, answered, readable
from lockstep.web.backups import add_backups
from lockstep.web.environments import add_environments
from lockstep.web.events import add_events
from lockstep.web.history import add_history
from lockstep.web.housekeeping import add_housekeeping
from lockstep.web.page import duration, facts, link, page, table
from lockstep.web.plan import add_plan
from lockstep.web.read import Reader
from lockstep.web.readiness import add_readiness
from lockstep.web.rehearsals import add_rehearsals
from lockstep.web.steer import add_steering
from lockstep.web.switch import SCRIPT_HASH, switch

_HEADERS = {
    # The one script is known by its hash, and talks to where it came from; nothing else runs.
    "Content-Security-Policy": (
        f"default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-{SCRIPT_HASH}'; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def create_app(
    reader: Reader, asker: Callable[..., Asker], environments: Mapping[str, Reader] | None = None
) -> FastAPI:
    """Return the app. Every route depends on `asker`, which refuses who is not logged in.

    `environments`: where there are several, each one's pages lie below /in/<name>, and `reader` is the default's.
    """
    app = FastAPI(title="Lockstep", docs_url=None, redoc_url=None, openapi_url=None)
    who = Depends(asker)
    if environments:
        add_environments(app, environments, lambda one: create_app(one, asker), who, _HEADERS)

    def found_run(run_id: str, asker: Annotated[Asker, who]) -> Run:
        """Return a run that the asker may read."""
        return readable(answered(lambda: reader.run(run_id)), asker)

    @app.get("/runs/{run_id}")
    def entry(
        request: Request, run: Annotated[Run, Depends(found_run)], asker: Annotated[Asker, who]
    ) -> Response:
        found = answered(lambda: reader.entry(run))
        if not _wants_html(request):
            return JSONResponse(found, headers=_HEADERS)
        url = _run_url(request, run.id)
        buttons = switch(run, url, may=asker.may_start(run.caller.dag_id))
        return HTMLResponse(_entry_page(found, url, buttons), headers=_HEADERS)

    @app.get("/runs/{run_id}/backup")
    def backup(request: Request, run: Annotated[Run, Depends(found_run)]) -> Response:
        found = answered(lambda: reader.manifests(run))
        if not _wants_html(request):
            return JSONResponse(found, headers=_HEADERS)
        return HTMLResponse(_backup_page(run, found, _run_url(request, run.id)), headers=_HEADERS)

    @app.get("/dag-runs/{dag_id}/{dag_run_id}")
    @app.get("/dag-runs/{dag_id}/{dag_run_id}/backup")
    def by_dag_run(request: Request, dag_id: str, dag_run_id: str, asker: Annotated[Asker, who]) -> Response:
        if not asker.may_read(dag_id):
            raise HTTPException(403, f"you may not read the runs of {dag_id}")
        run = answered(lambda: reader.run_of(dag_id, dag_run_id))
        if run is None:
            raise HTTPException(404, f"the ledger has no run of {dag_id} / {dag_run_id}: it was not opened")
        end = "/backup" if request.url.path.endswith("/backup") else ""
        return RedirectResponse(_run_url(request, run.id) + end, headers=_HEADERS)

    add_steering(app, reader, who, _HEADERS)
    add_backups(app, reader, who, _HEADERS)
    add_housekeeping(app, reader, who, _HEADERS)
    add_history(app, reader, who, _HEADERS)
    add_events(app, who, _HEADERS)
    add_readiness(app, reader, who, _HEADERS)
    add_plan(app, reader, who, _HEADERS)
    add_rehearsals(app, reader, who, _HEADERS)
    return app


def _wants_html(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _run_url(request: Request, run_id: str) -> str:
    return f"{request.scope.get('root_path', '')}/runs/{quote(run_id, safe='')}"


def _entry_page(found: dict[str, Any], url: str, buttons: str) -> str:
    run = dict(found["run"])
    caller = run.pop("caller")
    run.pop("pause")
    revision, pages = run["revision"], url.rpartition("/runs/")[0]
    shown = {
        name: run.pop(name) for name in ("revision", "direction", "status", "error", "started_at", "ended_at")
    }
    return page(
        f"Run {run.pop('id')}",
        facts("What happened", shown),
        buttons,
        table("Shards", [_counted(shard) for shard in found["shards"]]),
        table("Records in quarantine", [_left(record) for record in found["quarantined"]]),
        facts("Who asked", caller),
        table("History", [_told(entry) for entry in found["history"]]),
        facts("The rest", {**run, "backups": found["backups"]}),
        link("Backup manifests", f"{url}/backup"),
        link("What a downgrade would do now", f"{pages}/readiness/{quote(revision, safe='')}"),
    )


def _counted(shard: Mapping[str, Any]) -> dict[str, Any]:
    """Return a shard as a person reads it."""
    rate, left = shard["rate"], shard["eta_seconds"]
    named = {name: value for name, value in shard.items() if name not in ("rate", "eta_seconds")}
    return {
        **named,
        "rate": None if rate is None else f"{rate:,.0f}/s",
        "time left": None if left is None else duration(left),
    }


def _left(record: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "resource": f"{record['resource']} ({record['conn_id']})",
        "record": record["record"]["shown"],
        "error": record["record"]["error"],
        "at": str(record["at"])[:19],
        "carried later by": record["resolved_by"],
    }


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
