"""The schema of what events say, where each event says that it is."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.resources import files
from typing import Any

from fastapi import FastAPI
from fastapi.responses import Response

from lockstep.domain.events import SCHEMA


def add_events(app: FastAPI, who: Any, headers: Mapping[str, str]) -> None:
    """Add the schema, for those who are logged in."""

    @app.get(f"/events/{SCHEMA}", dependencies=[who])
    def schema() -> Response:
        text = (files("lockstep.domain") / "schemas" / SCHEMA).read_text(encoding="utf-8")
        return Response(text, media_type="application/schema+json", headers=dict(headers))
