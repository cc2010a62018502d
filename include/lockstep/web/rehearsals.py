"""The pages of rehearsals: a list of them, and the report of each as it lies in the vault."""

import hashlib
import json
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from lockstep.domain.rehearsal import Compared, Rehearsal
from lockstep.engine.rehearsing.page import page as report_page
from lockstep.web.asking import Asker, answered
from lockstep.web.page import facts, link, page, table
from lockstep.web.read import Reader, plain

#: comparisons of predictions with real runs that the list shows
LATEST = 50


def add_rehearsals(app: FastAPI, reader: Reader, who: Any, headers: dict[str, str]) -> None:
    """Add the routes. Who may read the runs of the rehearsal's DAG may read its report."""
    asked = Annotated[Asker, who]

    def found(rehearsal_id: str, asker: asked) -> Rehearsal:
        return _readable(answered(lambda: reader.ledger().rehearsal(rehearsal_id)), asker)

    @app.get("/rehearsals")
    def listed(request: Request, asker: asked) -> Response:
        known = [one for one in answered(reader.ledger().rehearsals) if asker.may_read(one.caller.dag_id)]
        if not _wants_html(request):
            return JSONResponse([_row(one) for one in known], headers=headers)
        compared = answered(reader.ledger().comparisons)
        return HTMLResponse(_list_page(request, known, compared), headers=headers)

    @app.get("/rehearsals/{rehearsal_id}")
    def report(request: Request, rehearsal: Annotated[Rehearsal, Depends(found)]) -> Response:
        content = _report(reader, rehearsal)
        if not _wants_html(request):
            return JSONResponse(content or _row(rehearsal), headers=headers)
        title = f"Rehearsal {rehearsal.id}"
        shown = report_page(content) if content else page(title, facts("It goes on", _row(rehearsal)))
        return HTMLResponse(shown, headers=headers)

    @app.get("/dag-runs/{dag_id}/{dag_run_id}/rehearsal")
    def by_dag_run(request: Request, dag_id: str, dag_run_id: str, asker: asked) -> Response:
        rehearsal = answered(lambda: reader.ledger().rehearsal_of(dag_id, dag_run_id))
        if rehearsal is None:
            raise HTTPException(404, f"{dag_id} / {dag_run_id} began no rehearsal")
        return RedirectResponse(_url(request, _readable(rehearsal, asker).id), headers=headers)


def _report(reader: Reader, rehearsal: Rehearsal) -> dict[str, Any] | None:
    """Return the report as the rehearsal wrote it; None while there is none."""
    path = rehearsal.report_path
    if path is None:
        return None
    kept = answered(lambda: reader.kept(path))
    if hashlib.sha256(kept).hexdigest() != rehearsal.report_sha256:
        raise HTTPException(409, f"{path} is not what the rehearsal wrote: look who writes to the vault")
    found: dict[str, Any] = json.loads(kept)
    return found


def _list_page(request: Request, known: list[Rehearsal], compared: list[Compared]) -> str:
    return page(
        "Rehearsals",
        table("Latest first", [_row(one) for one in known]),
        table("Predicted, and what the live run took", [_compared(one) for one in compared[:LATEST]]),
        *(link(f"Report of {one.id}", _url(request, one.id)) for one in known if one.report_path),
    )


def _readable(rehearsal: Rehearsal, asker: Asker) -> Rehearsal:
    if not asker.may_read(rehearsal.caller.dag_id):
        raise HTTPException(403, f"you may not read the runs of {rehearsal.caller.dag_id}")
    return rehearsal


def _row(rehearsal: Rehearsal) -> dict[str, Any]:
    predicted = sum(one.seconds for one in rehearsal.predicted.values())
    shown: dict[str, Any] = plain(
        {
            "rehearsal": rehearsal.id,
            "target": rehearsal.target,
            "verdict": rehearsal.verdict.value if rehearsal.verdict else "goes on",
            "why": rehearsal.facts.get("why"),
            "revisions": ", ".join(rehearsal.revisions),
            "predicted seconds": round(predicted, 1) if rehearsal.predicted else None,
            "by": rehearsal.caller.by,
            "began": rehearsal.started_at,
            "ended": rehearsal.ended_at,
        }
    )
    return shown


def _compared(one: Compared) -> dict[str, Any]:
    predicted = one.predicted
    return {
        "revision": one.revision,
        "run": one.run_id,
        "rehearsal": one.rehearsal_id,
        "predicted": f"{predicted.seconds:.1f} s ({predicted.low:.1f} to {predicted.high:.1f} s)",
        "took": f"{one.actual_seconds:.1f} s",
    }


def _url(request: Request, rehearsal_id: str) -> str:
    return f"{request.scope.get('root_path', '')}/rehearsals/{quote(rehearsal_id, safe='')}"


def _wants_html(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")
