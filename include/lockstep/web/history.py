"""The page of the history: who did what, and when, and whether its chain holds."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from lockstep.domain.history import BrokenLink
from lockstep.engine.auditing.telling import Wanted, from_ledger, tell
from lockstep.web.asking import Asker, answered
from lockstep.web.page import facts, link, page, table
from lockstep.web.read import Reader, plain

#: who may read the runs of this DAG may read the history
DAG_ID = "migrate"
#: entries of a page, unless it is asked for others
LAST = 100
MOST = 1000
#: names in an entry's detail that the table leaves out; the JSON has them
_USUAL = frozenset(
    {"params", "direction", "checksum", "dag_run", "parent", "versions", "host", "task", "log_url"}
)


def add_history(app: FastAPI, reader: Reader, who: Any, headers: dict[str, str]) -> None:
    """Add the route. `verify`: the chain is checked too, which reads all of it."""

    def allowed(asker: Annotated[Asker, who]) -> None:
        if not asker.may_read(DAG_ID):
            raise HTTPException(403, f"you may not read the runs of {DAG_ID}")

    @app.get("/history", dependencies=[Depends(allowed)])
    def history(
        request: Request,
        revision: str | None = None,
        run: str | None = None,
        by: Annotated[str | None, Query(alias="who")] = None,
        kind: str | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        last: Annotated[int, Query(ge=1, le=MOST)] = LAST,
        verify: bool = False,
    ) -> Response:
        wanted = Wanted(
            revision=revision, run=run, who=by, kind=kind, since=_utc(since), until=_utc(until), last=last
        )
        ledger = answered(reader.ledger)
        found = answered(lambda: list(tell(from_ledger(ledger), wanted)))
        holds = answered(lambda: _state(ledger.broken_link())) if verify else None
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse(plain({"entries": found, "chain": holds}), headers=headers)
        return HTMLResponse(_page(request, found, holds), headers=headers)


def _utc(moment: datetime | None) -> datetime | None:
    return moment.replace(tzinfo=timezone.utc) if moment and moment.tzinfo is None else moment


def _state(broken: BrokenLink | None) -> dict[str, Any]:
    return {"holds": broken is None, "broken": None if broken is None else vars(broken)}


def _page(request: Request, found: Sequence[Mapping[str, Any]], holds: Mapping[str, Any] | None) -> str:
    url = f"{request.scope.get('root_path', '')}/history"
    if holds is None:
        state = link("Check the chain", f"{url}?verify=true")
    elif holds["holds"]:
        state = facts("The chain", {"holds": "yes: every entry follows the one before it"})
    else:
        state = facts("The chain is broken", dict(holds["broken"]))
    return page(
        "History",
        "<p>The latest entries first. Narrow it down in the address with <code>revision</code>, <code>run</code>, "
        "<code>who</code>, <code>kind</code>, <code>since</code>, <code>until</code> and <code>last</code>. "
        "<code>lockstep audit verify</code> checks it against its archive in the vault too.</p>",
        state,
        table("Entries", [_row(entry) for entry in reversed(found)]),
    )


def _row(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry as a person reads it."""
    change = f"{entry['from_status']} → {entry['to_status']}" if entry["to_status"] else entry["kind"]
    detail = {name: value for name, value in dict(entry["detail"]).items() if name not in _USUAL}
    return {
        "id": entry["id"],
        "at": str(entry["at"])[:19],
        "who": entry["who"],
        "what": change,
        "revision": entry["revision"],
        "run": entry["run_id"],
        "why": entry["reason"],
        "detail": detail or None,
        "hash": str(entry["hash"])[:12],
    }
