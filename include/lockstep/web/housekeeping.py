"""The pages of what is parked, and of drift."""

import json
from collections.abc import Mapping
from datetime import datetime, timezone
from html import escape
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from lockstep.domain.errors import DataError
from lockstep.domain.parked import Parked
from lockstep.web.asking import Asker, answered
from lockstep.web.page import facts, link, page, table
from lockstep.web.read import Reader, plain

#: who may read the runs of this DAG may read its pages
DAG_ID = "housekeeping"
#: where the vault keeps the latest comparison
DRIFT = "housekeeping/drift.json"


def add_housekeeping(app: FastAPI, reader: Reader, who: Any, headers: dict[str, str]) -> None:
    """Add the routes."""

    def allowed(asker: Annotated[Asker, who]) -> Asker:
        if not asker.may_read(DAG_ID):
            raise HTTPException(403, f"you may not read the runs of {DAG_ID}")
        return asker

    @app.get("/parked", dependencies=[Depends(allowed)])
    def parked(request: Request) -> Response:
        found = answered(lambda: reader.ledger().parked(gone=True))
        now = datetime.now(timezone.utc)
        there = [_parked(one, now) for one in found if one.gone_at is None]
        gone = [_parked(one, now) for one in reversed(found) if one.gone_at is not None]
        if not _wants_html(request):
            return JSONResponse(plain({"parked": there, "gone": gone}), headers=headers)
        return HTMLResponse(_parked_page(request, there, gone), headers=headers)

    @app.get("/drift", dependencies=[Depends(allowed)])
    def drift(request: Request) -> Response:
        found = answered(lambda: _comparison(reader))
        if not _wants_html(request):
            return JSONResponse(found, headers=headers)
        return HTMLResponse(_drift_page(request, found), headers=headers)


def _wants_html(request: Request) -> bool:
    return "text/html" in request.headers.get("accept", "")


def _at(request: Request, path: str) -> str:
    return f"{request.scope.get('root_path', '')}{path}"


def _parked(one: Parked, now: datetime) -> dict[str, Any]:
    return {
        "database": one.conn_id,
        "kind": one.kind,
        "what": one.resource,
        "bytes": one.bytes,
        "records": one.records,
        "age_days": round(((one.gone_at or now) - one.parked_at).total_seconds() / 86_400, 1),
        "parked_at": one.parked_at,
        "revision": one.revision,
        "run": one.run_id,
        "parked_as": one.parked_as,
        **({} if one.gone_at is None else {"gone_at": one.gone_at, "gone_why": one.gone_why}),
    }


def _parked_page(request: Request, there: list[dict[str, Any]], gone: list[dict[str, Any]]) -> str:
    known = [one["bytes"] for one in there if one["bytes"] is not None]
    unknown = len(there) - len(known)
    total = f"{sum(known):,} bytes" + (f", and {unknown} of unknown size" if unknown else "")
    return page(
        "What is parked",
        "<p>What revisions dropped or replaced, kept with its data: a downgrade gives it back. Housekeeping removes "
        "it after its retention.</p>",
        facts("In all", {"things": len(there), "size": total}),
        table("Parked now", [_row(one) for one in there]),
        table("Gone", [_row(one) for one in gone[:200]]),
        link("Drift", _at(request, "/drift")),
    )


def _row(one: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row as a person reads it; the JSON has all of it."""
    size, records = one["bytes"], one["records"]
    return {
        **{name: one[name] for name in ("database", "kind", "what")},
        "bytes": None if size is None else f"{size:,}",
        "records": None if records is None else f"{records:,}",
        "age": f"{one['age_days']:g} days",
        "revision": one["revision"],
        "run": one["run"],
        "parked as": one["parked_as"],
        **({"gone": str(one["gone_at"])[:19], "why": one["gone_why"]} if "gone_at" in one else {}),
    }


def _comparison(reader: Reader) -> dict[str, Any]:
    """Return the latest comparison; empty before the first."""
    try:
        found: dict[str, Any] = json.loads(reader.kept(DRIFT))
    except DataError:
        return {"at": None, "compared": {}, "ignored": [], "differences": []}
    return found


def _drift_page(request: Request, found: Mapping[str, Any]) -> str:
    if found["at"] is None:
        told = "<p>Nothing was compared yet: trigger the DAG housekeeping.</p>"
    elif not found["differences"]:
        told = "<p>Every database is as the last run that touched it left it.</p>"
    else:
        told = "".join(map(_difference, found["differences"]))
    compared = {
        conn_id: f"with run {one['run']}, {one['at'][:19]} UTC: {one['objects']} object(s)"
        for conn_id, one in found["compared"].items()
    }
    return page(
        "Drift",
        "<p>Objects of the live databases that are not as the chain's runs left them.</p>",
        told,
        facts("Compared", {"at": str(found["at"] or "")[:19], **compared, "ignored": found["ignored"]}),
        link("What is parked", _at(request, "/parked")),
    )


def _difference(one: Mapping[str, Any]) -> str:
    """Return an object with both definitions."""
    rows = "".join(
        f"<tr><th>{name}</th><td><code>{escape(text)}</code></td></tr>"
        for name, text in (("was", one["expected"]), ("is", one["now"]))
        if text is not None
    )
    return f"<h2>{escape(one['conn_id'])}: {escape(one['object'])} is {escape(one['kind'])}</h2><table>{rows}</table>"
