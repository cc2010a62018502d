"""What tasks tell OpenLineage where its provider is installed, and that they do without it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from lockstep.domain.environment import Environment
from lockstep.domain.resources import Bucket, Collection, Everything, Mongo, Postgres, Prefix, Table

AUTH, DOCUMENTS, OBJECTS = Postgres("campus_auth"), Mongo("campus_documents"), Bucket("campus_objects")
CONNECTIONS = {
    "CAMPUS_AUTH": {"conn_type": "postgres", "host": "db.internal", "port": 5433, "schema": "auth"},
    "CAMPUS_DOCUMENTS": {"conn_type": "mongo", "host": "docs.internal", "schema": "campus"},
    "CAMPUS_OBJECTS": {
        "conn_type": "aws",
        "extra": {"service_config": {"s3": {"bucket_name": "campus-live"}}},
    },
}


@dataclass
class Given:
    """Stands in for a type of OpenLineage's, by keyword."""

    given: dict[str, Any]

    def __init__(self, **given: Any) -> None:
        self.given = given


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    from lockstep.orchestration import lineage

    for name, connection in CONNECTIONS.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_LIVE_{name}", json.dumps(connection))
    wanted = lineage.wanted
    wanted.cache_clear()
    yield SimpleNamespace(services=SimpleNamespace(environment=Environment("live", prefix="live_")))
    wanted.cache_clear()


def test_resources_are_named_as_openlineage_names_datasets(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lockstep.orchestration import lineage
    from lockstep.orchestration.tasks.steps import RunStep

    extractors, events = ModuleType("extractors"), ModuleType("event_v2")
    extractors.OperatorLineage = events.Dataset = Given  # type: ignore[attr-defined]
    provider = "airflow.providers.openlineage"
    found = {provider: ModuleType(provider), f"{provider}.extractors": extractors}
    client = {
        "openlineage": ModuleType("openlineage"),
        "openlineage.client": ModuleType("openlineage.client"),
    }
    for name, module in {**found, **client, "openlineage.client.event_v2": events}.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setattr(lineage, "wanted", lambda: True)
    task = RunStep(task_id="step")

    lineage.note(
        task,
        desk,
        reads=[Table(AUTH, "users"), Table(AUTH, "users"), Collection(DOCUMENTS, "submissions")],
        writes=[Prefix(OBJECTS, "uploads/"), Everything(AUTH)],
    )
    told = task.get_openlineage_facets_on_complete(None).given

    def datasets(side: str) -> list[tuple[str, str]]:
        return [(one.given["namespace"], one.given["name"]) for one in told[side]]

    assert datasets("inputs") == [
        ("postgres://db.internal:5433", "auth.public.users"),
        ("mongodb://docs.internal:27017", "campus.submissions"),
    ]
    assert datasets("outputs") == [
        ("s3://campus-live", "uploads/"),
        ("postgres://db.internal:5433", "auth.*"),
    ]


def test_without_the_provider_nobody_is_asked_and_what_cannot_be_named_fails_nothing(
    desk: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lockstep.orchestration import lineage
    from lockstep.orchestration.tasks.steps import RunStep

    task = RunStep(task_id="step")
    monkeypatch.setattr(lineage, "find_spec", lambda name: None)
    monkeypatch.setattr(lineage, "dataset", lambda *given: pytest.fail("it was asked"))
    lineage.note(task, desk, writes=[Table(AUTH, "users")])
    assert task.lineage_outputs == ()

    monkeypatch.undo()
    monkeypatch.setattr(lineage, "wanted", lambda: True)
    lineage.note(task, desk, writes=[Table(Postgres("nowhere"), "users")])
    assert task.lineage_outputs == ()
