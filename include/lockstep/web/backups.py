"""The page of all stored backups, and how each is put back."""

import json
from collections.abc import Mapping
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from lockstep.domain.backups import StoredBackup
from lockstep.web.asking import Asker, answered
from lockstep.web.page import link, page, table
from lockstep.web.read import Reader, plain

#: who may read the runs of this DAG may read the page
DAG_ID = "restore"
#: backups that are listed, latest first
MOST = 1000


def add_backups(app: FastAPI, reader: Reader, who: Any, headers: dict[str, str]) -> None:
    """Add the route."""

    def allowed(asker: Annotated[Asker, who]) -> None:
        if not asker.may_read(DAG_ID):
            raise HTTPException(403, f"you may not read the runs of {DAG_ID}")

    @app.get("/backups", dependencies=[Depends(allowed)])
    def backups(request: Request, removed: bool = False) -> Response:
        found = answered(lambda: stored(reader, removed=removed))
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse({"backups": found}, headers=headers)
        return HTMLResponse(_page(request, found), headers=headers)


def stored(reader: Reader, *, removed: bool) -> list[dict[str, Any]]:
    """Return each backup of one database, latest first, as plain values."""
    listed = reader.ledger().stored_backups(removed=removed, limit=MOST)
    found: list[dict[str, Any]] = plain([_facts(reader, one) for one in listed])
    return found


def _facts(reader: Reader, one: StoredBackup) -> dict[str, Any]:
    manifest = one.manifest
    there = one.removed_at is None
    return {
        "run": manifest.run_id,
        "taken_at": manifest.taken_at,
        "revision": one.revision,
        "direction": one.way,
        "run_status": one.run_status,
        "database": manifest.conn_id,
        "resources": {slug: held.count for slug, held in manifest.fingerprints.items() if held.present},
        "bytes": manifest.size,
        "proof": one.proof,
        "proven_at": one.proven_at,
        "consistency": manifest.consistency,
        "checked_at": one.checked_at,
        "problem": one.problem,
        "removed_at": one.removed_at,
        "manifest": reader.uri(manifest.path),
        "restore": {"dag_id": DAG_ID, "conf": {"backup": manifest.run_id}} if there else None,
    }


def _page(request: Request, found: list[dict[str, Any]]) -> str:
    return page(
        "Backups",
        "<p>What each run backed up before it changed anything. To put one back, trigger the DAG <code>restore</code> "
        "with the <code>backup</code> named in its row: it shows what would happen, and asks. With "
        "<code>resource</code> it puts back a part, with <code>into</code> it goes into another database.</p>",
        table("Stored", [_row(one) for one in found]),
        _to_runs(request, found),
    )


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as a person reads it; the JSON has all of it."""
    held = ", ".join(f"{slug} ({count:,})" for slug, count in sorted(one["resources"].items()))
    return {
        "taken": str(one["taken_at"])[:19],
        "before": f"{one['direction']} of {one['revision']}",
        "the run ended": one["run_status"],
        "database": one["database"],
        "holds (records)": held or "nothing was there",
        "bytes": f"{one['bytes']:,}",
        "proven by": one["proof"] or "nothing",
        "problem": one["problem"],
        "to restore": "removed" if one["restore"] is None else f"backup = {json.dumps(one['run'])}",
    }


def _to_runs(request: Request, found: list[dict[str, Any]]) -> str:
    """Link to the manifests of each run."""
    root = request.scope.get("root_path", "")
    runs = dict.fromkeys(str(one["run"]) for one in found)
    links = "".join(link(f"Manifests of {run}", f"{root}/runs/{quote(run, safe='')}/backup") for run in runs)
    return f"<h2>Manifests</h2>{links}" if links else ""
