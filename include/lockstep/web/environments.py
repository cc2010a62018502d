"""The pages of several environments: each one's below /in/<name>, found from the plain ones by ?environment=."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Annotated, Any
from urllib.parse import quote, urlencode

from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response

from lockstep.domain.errors import LockstepError
from lockstep.web.asking import Asker
from lockstep.web.page import link, page
from lockstep.web.read import Reader

#: below which an environment's pages lie
IN = "/in"
#: the parameter that leads there
PARAMETER = "environment"
#: pages that are not about one run
_PAGES = {
    "Plan": "/plan",
    "Ways back": "/readiness",
    "Backups": "/backups",
    "History": "/history",
    "Parked": "/parked",
    "Rehearsals": "/rehearsals",
}
_Next = Callable[[Request], Awaitable[Response]]


def add_environments(
    app: FastAPI,
    readers: Mapping[str, Reader],
    app_of: Callable[[Reader], FastAPI],
    who: Any,
    headers: dict[str, str],
) -> None:
    """Mount the app of each environment, and send whoever names one, or asks for one of its runs, there.

    Must come before the plain routes are added: the runs of other environments are not in the default ledger.
    """
    for name, reader in readers.items():
        app.mount(f"{IN}/{name}", app_of(reader))
    _add_choice(app, readers, headers)
    _add_search(app, readers, who, headers)
    _add_list(app, readers, who, headers)


def create_broken_app(problem: str, asker: Callable[..., Asker]) -> FastAPI:
    """Return an app that says on every page why there is none: Airflow's own server must start all the same."""
    app = FastAPI(title="Lockstep", docs_url=None, redoc_url=None, openapi_url=None)

    @app.get("/{path:path}", dependencies=[Depends(asker)])
    def broken(path: str) -> Response:
        return JSONResponse({"detail": problem}, status_code=503, headers={"Cache-Control": "no-store"})

    return app


def _add_choice(app: FastAPI, readers: Mapping[str, Reader], headers: dict[str, str]) -> None:
    @app.middleware("http")
    async def named(request: Request, call_next: _Next) -> Response:
        asked = request.query_params.get(PARAMETER)
        if asked is None or request.method != "GET":
            return await call_next(request)
        if asked not in readers:
            # Which ones there are is for who is logged in, and here nobody has looked at that yet.
            told = {"detail": f"there is no environment {asked!r}"}
            return JSONResponse(told, status_code=404, headers=headers)
        return RedirectResponse(_there(request, asked), headers=headers)


def _add_search(app: FastAPI, readers: Mapping[str, Reader], who: Any, headers: dict[str, str]) -> None:
    """Find which environment's ledger knows a DAG run: Airflow's own tab does not say it."""

    @app.get("/dag-runs/{dag_id}/{dag_run_id}")
    @app.get("/dag-runs/{dag_id}/{dag_run_id}/{part}")
    def of_dag_run(
        request: Request, dag_id: str, dag_run_id: str, asker: Annotated[Asker, who], part: str = ""
    ) -> Response:
        if not asker.may_read(dag_id):
            raise HTTPException(403, f"you may not read the runs of {dag_id}")
        silent: list[str] = []
        for name, reader in readers.items():
            if _knows(reader, dag_id, dag_run_id, part, silent):
                parts = "/".join(quote(one, safe="") for one in (dag_id, dag_run_id, part) if one)
                return RedirectResponse(f"{_root(request)}{IN}/{name}/dag-runs/{parts}", headers=headers)
        if silent:
            raise HTTPException(503, "; ".join(silent))
        raise HTTPException(404, f"no environment's ledger has a run of {dag_id} / {dag_run_id}")


def _add_list(app: FastAPI, readers: Mapping[str, Reader], who: Any, headers: dict[str, str]) -> None:
    def known(asker: Annotated[Asker, who]) -> None:
        """Refuse who is not logged in."""

    @app.get("/environments", dependencies=[Depends(known)])
    def environments(request: Request) -> Response:
        if "text/html" not in request.headers.get("accept", ""):
            return JSONResponse({"environments": list(readers)}, headers=headers)
        links = "".join(
            f"<h2>{name}</h2>"
            + "".join(link(title, f"{_root(request)}{IN}/{name}{path}") for title, path in _PAGES.items())
            for name in readers
        )
        return HTMLResponse(page("Environments", links), headers=headers)


def _knows(reader: Reader, dag_id: str, dag_run_id: str, part: str, silent: list[str]) -> bool:
    """Say whether a ledger knows the run, or the rehearsal; one that does not answer is kept for the words."""
    try:
        if part == "rehearsal":
            return reader.ledger().rehearsal_of(dag_id, dag_run_id) is not None
        return reader.run_of(dag_id, dag_run_id) is not None
    except LockstepError as problem:
        silent.append(str(problem))
        return False


def _root(request: Request) -> str:
    return str(request.scope.get("root_path", ""))


def _there(request: Request, name: str) -> str:
    """Return the address of the same page in an environment."""
    path = request.url.path.removeprefix(_root(request))
    others = [(key, value) for key, value in request.query_params.multi_items() if key != PARAMETER]
    asked = f"?{urlencode(others)}" if others else ""
    return f"{_root(request)}{IN}/{name}{quote(path)}{asked}"
