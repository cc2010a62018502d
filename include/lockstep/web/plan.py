"""What migrate or rollback would do now, as a page for people and JSON for programs; nothing is written."""

from typing import Annotated, Any, Literal

from fastapi import Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import HTMLResponse, JSONResponse, Response

from lockstep.domain.plan import Plan, PlannedRevision
from lockstep.domain.revision import Direction
from lockstep.web.asking import Asker, answered
from lockstep.web.page import facts, link, page, table
from lockstep.web.read import Reader

#: who may read the runs of this DAG may read what it would do
DAGS: dict[Direction, str] = {"upgrade": "migrate", "downgrade": "rollback"}
#: where a plan leads that names no target
TARGETS: dict[Direction, str] = {"upgrade": "head", "downgrade": "previous"}
_Target = Annotated[str, Query(max_length=100)]
_Direction = Literal["upgrade", "downgrade"]


def add_plan(app: FastAPI, reader: Reader, who: Any, headers: dict[str, str]) -> None:
    """Add the route. It looks at the databases, so it takes as long as that does."""

    def allowed(asker: Annotated[Asker, who], direction: _Direction = "upgrade") -> Direction:
        if not asker.may_read(DAGS[direction]):
            raise HTTPException(403, f"you may not read the runs of {DAGS[direction]}")
        return direction

    @app.get("/plan")
    def plan(
        request: Request, direction: Annotated[Direction, Depends(allowed)], target: _Target = ""
    ) -> Response:
        found = answered(lambda: reader.plan(target or TARGETS[direction], direction), refused=409)
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse(found.as_json(), headers=headers)
        return HTMLResponse(_page(found), headers=headers)


def _page(plan: Plan) -> str:
    empty = "" if plan.revisions else "<p>Nothing to do: the chain is there already.</p>"
    checks = [
        {"check": one.check, "place": one.place, "state": one.state.value, "words": one.words}
        for one in plan.checks
    ]
    return page(
        f"What {DAGS[plan.direction]} to {plan.target} would do in {plan.environment}",
        empty,
        *(part for one in plan.revisions for part in _parts(one)),
        table("Checks before the start", checks),
    )


def _parts(one: PlannedRevision) -> list[str]:
    predicted = one.predicted
    took = f"{predicted.seconds:.1f} s ({predicted.low:.1f} to {predicted.high:.1f} s)" if predicted else None
    return [
        facts(
            f"{one.direction} {one.revision}: {one.description}",
            {
                "predicted": took,
                "rehearsal": str(one.rehearsal) if one.rehearsal else "never rehearsed",
                "approval": str(one.approval),
                "checksum": one.checksum,
            },
        ),
        table(
            "Operations, in order",
            [
                {
                    "number": operation.number,
                    "what": operation.what,
                    "lock": operation.lock,
                    "records there": _many(operation.records, operation.least),
                    "way back": operation.way_back,
                }
                for operation in one.operations
            ],
        ),
        table(
            "Backups",
            [
                {"database": backup.conn_id, "of": ", ".join(backup.resources), "bytes now": backup.bytes}
                for backup in one.backups
            ],
        ),
        table(
            "What the linter holds against it",
            [{"where": found.where, "what": found.message, "fix": found.fix} for found in one.findings],
        ),
        table("What the downgrade does now", [{"line": line} for line in one.readiness]),
        link("Report of the rehearsal", one.rehearsal.url) if one.rehearsal and one.rehearsal.url else "",
    ]


def _many(records: int | None, least: bool) -> str:
    if records is None:
        return "nobody knows"
    return f"{'at least' if least else 'about'} {records:,}"
