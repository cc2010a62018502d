"""The page that says what a downgrade of each applied revision would do now."""

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from lockstep.domain.readiness import Readiness
from lockstep.web.asking import Asker, answered
from lockstep.web.page import duration, facts, page, table
from lockstep.web.read import Reader, plain

#: who may read the runs of this DAG may read what it would do
DAG_ID = "rollback"


def add_readiness(app: FastAPI, reader: Reader, who: Any, headers: dict[str, str]) -> None:
    """Add the routes. They look at the databases, so they take as long as that does."""

    def allowed(asker: Annotated[Asker, who]) -> Asker:
        if not asker.may_read(DAG_ID):
            raise HTTPException(403, f"you may not read the runs of {DAG_ID}")
        return asker

    def shown(request: Request, found: Sequence[Readiness]) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            told = [{**asdict(one), "lossy": one.lossy} for one in found]
            return JSONResponse(plain({"revisions": told}), headers=headers)
        return HTMLResponse(_page(found), headers=headers)

    @app.get("/readiness", dependencies=[Depends(allowed)])
    def readiness(request: Request) -> Response:
        return shown(request, answered(lambda: reader.ready(None)))

    @app.get("/readiness/{revision}", dependencies=[Depends(allowed)])
    def readiness_of(request: Request, revision: str) -> Response:
        found = answered(lambda: reader.ready([revision]))
        if not found:
            raise HTTPException(
                404, f"revision {revision!r} is not applied, so there is nothing to take back"
            )
        return shown(request, found)


def _page(found: Sequence[Readiness]) -> str:
    parts = [part for one in found for part in _parts(one)]
    empty = "" if found else "<p>No revision is applied.</p>"
    return page("What a downgrade would do now", empty, *parts)


def _parts(one: Readiness) -> list[str]:
    lost = "".join(f"<li>{escape(str(step.loses))}: {_many(step.records)}</li>" for step in one.losses)
    warned = f'<p class="status">A downgrade would lose data for good:</p><ul>{lost}</ul>' if lost else ""
    return [
        facts(
            f"Revision {one.revision}: {one.description}",
            {"applied_at": one.applied_at, "run": one.run_id, "lossy": "yes" if one.lossy else "no"},
        ),
        warned,
        table(
            "Operations, in order",
            [
                {"number": step.number, "what": step.what, "where it keeps data": step.keeps}
                for step in one.steps
            ],
        ),
        table(
            "Written since",
            [
                {"resource": said.resource, "records": _many(said.records, said.exact), "remark": said.remark}
                for said in one.written
            ],
        ),
        table(
            "Backups",
            [
                {
                    "database": kept.conn_id,
                    "age": duration(kept.age_seconds),
                    "bytes": kept.bytes,
                    "proven by": str(kept.proof or "nobody"),
                    "problem": kept.problem,
                    "removed at": kept.removed_at,
                    "where": kept.uri,
                }
                for kept in one.backups
            ],
        ),
    ]


def _many(records: int | None, exact: bool = True) -> str:
    if records is None:
        return "nobody knows how many records"
    return f"{'' if exact else 'at least '}{records:,} record(s)"
