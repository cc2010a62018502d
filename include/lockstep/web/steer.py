"""Pause a run and resume it: all that the pages can change."""

from typing import Annotated, Any

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, StringConstraints

from lockstep.domain.run import Run
from lockstep.web.asking import Asker, answered, steerable
from lockstep.web.read import Reader, plain


class Nothing(BaseModel):
    """A body that says nothing."""

    model_config = ConfigDict(extra="forbid")


class Why(Nothing):
    """Why a run is paused."""

    reason: Annotated[str, StringConstraints(strip_whitespace=True, max_length=500)] = ""


def only_json(request: Request) -> None:
    """Refuse what a form of another site could send with the user's cookie: no browser lets it send JSON."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise HTTPException(415, 'send JSON, with "Content-Type: application/json"')


def add_steering(app: FastAPI, reader: Reader, who: Any, headers: dict[str, str]) -> None:
    """Add the routes. Who may start a run of the DAG may pause its runs and resume them."""

    def run_of(run_id: str, asker: Annotated[Asker, who]) -> tuple[Run, Asker]:
        return steerable(answered(lambda: reader.run(run_id)), asker), asker

    asked = Annotated[tuple[Run, Asker], Depends(run_of)]

    @app.post("/runs/{run_id}/pause", dependencies=[Depends(only_json)])
    def pause(found: asked, why: Why) -> JSONResponse:
        run, asker = found
        paused = answered(
            lambda: reader.ledger().pause(run.id, by=asker.name, reason=why.reason), refused=409
        )
        return JSONResponse(_told(paused), headers=headers)

    @app.post("/runs/{run_id}/resume", dependencies=[Depends(only_json)])
    def resume(found: asked, nothing: Nothing) -> JSONResponse:
        run, asker = found
        resumed = answered(lambda: reader.ledger().resume(run.id, by=asker.name), refused=409)
        return JSONResponse(_told(resumed), headers=headers)


def _told(run: Run) -> dict[str, Any]:
    pause = None if run.pause is None else vars(run.pause)
    told: dict[str, Any] = plain({"run": run.id, "status": run.status, "pause": pause})
    return told
