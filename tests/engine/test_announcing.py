"""A rehearsal is told to GitHub and to a webhook, in the documented words; who is not there does not fail it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from driver import PlainLog
from listening import Listener, listening
from world import World, factory_of

from lockstep.domain.announcement import Announcement, Sent
from lockstep.domain.rehearsal import Prediction, Rehearsal, Verdict
from lockstep.domain.run import Caller
from lockstep.engine.announcing import Insistence, announce
from lockstep.engine.ports import Announcer
from lockstep.engine.services import Services
from lockstep.stores.announcers import CommitStatus, DeploymentStatus, Endpoint, Webhook
from lockstep.stores.announcers.github import GitHub

SHA = "0123456789abcdef0123456789abcdef01234567"
PAGE = "https://airflow.example/lockstep/rehearsals/r-1"
TOKEN = "ghp_not-a-real-token"
DOCS = Path(__file__).parents[2] / "docs" / "deployment-status.md"


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as made:
        yield made


@pytest.fixture
def log() -> PlainLog:
    return PlainLog()


def services_of(world: World, log: PlainLog, *announcers: Announcer) -> Services:
    return replace(factory_of(world, log)(lambda place: None), announcers=lambda: announcers)


def at(url: str) -> Endpoint:
    return Endpoint(
        url=url, conn_id="lockstep_github", headers={"Authorization": f"Bearer {TOKEN}"}, timeout=5.0
    )


def github(url: str) -> tuple[Announcer, ...]:
    repository = GitHub(endpoint=at(url), repository="campus/api")
    return CommitStatus(repository), DeploymentStatus(repository)


def rehearsal(services: Services, **params: Any) -> Rehearsal:
    """Begin a rehearsal in the ledger."""
    services.ledger.check()
    made = Rehearsal(
        id="r-1",
        target="0012",
        caller=Caller(dag_id="rehearse", dag_run_id="pr-7", by="olga"),
        started_at=datetime(2026, 11, 22, 10, 0, tzinfo=timezone.utc),
        revisions={"0012": "c" * 64},
        params={"commit": SHA, "deployment_environment": "rehearsal", **params},
    )
    services.ledger.add_rehearsal(made)
    return services.ledger.rehearsal("r-1")


def documented(heading: str) -> list[Any]:
    """Return the JSON blocks below a heading of the page."""
    text = DOCS.read_text(encoding="utf-8").partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [json.loads(block.partition("```")[0]) for block in text.split("```json\n")[1:]]


def test_github_receives_the_documented_payloads_in_order(
    world: World, log: PlainLog, listener: Listener
) -> None:
    services = services_of(world, log, *github(listener.url))
    begun = rehearsal(services)
    listener.will(201, {"id": 1})
    listener.will(201, {"id": 42})
    announce(services, begun, "pending", url=PAGE, text="Rehearsing 0012 on a copy")
    services.ledger.change_rehearsal("r-1", verdict=Verdict.GREEN)
    told = announce(
        services, begun, "success", url=PAGE, text="0012 works on a copy, and back: about 40 s live"
    )

    status, made, deployed = documented("What GitHub is sent")
    pending = {**status, "state": "pending", "description": "Rehearsing 0012 on a copy"}
    assert listener.posts == [
        (f"/repos/campus/api/statuses/{SHA}", pending),
        ("/repos/campus/api/deployments", made),
        (
            "/repos/campus/api/deployments/42/statuses",
            {**deployed, "state": "in_progress", "description": "Rehearsing 0012 on a copy"},
        ),
        (f"/repos/campus/api/statuses/{SHA}", status),
        ("/repos/campus/api/deployments/42/statuses", deployed),
    ]
    assert told == [
        f"GitHub commit status: lockstep/rehearsal of {SHA[:12]} is success",
        "GitHub deployment status: deployment 42 is success",
    ]
    for one in listener.heard:
        assert one.headers["accept"] == "application/vnd.github+json"
        assert one.headers["x-github-api-version"] == "2022-11-28"
        assert one.headers["authorization"] == f"Bearer {TOKEN}"
        assert one.headers["content-type"] == "application/json"


def test_the_facts_of_the_rehearsal_say_what_was_sent(
    world: World, log: PlainLog, listener: Listener
) -> None:
    services = services_of(world, log, *github(listener.url))
    announce(services, rehearsal(services), "pending", url=PAGE, text="begun")

    facts = services.ledger.rehearsal("r-1").facts
    assert [(one["to"], one["state"], one["arrived"]) for one in facts["announced"]] == [
        ("GitHub commit status", "pending", True),
        ("GitHub deployment status", "pending", True),
    ]
    assert facts["announcers"] == {"GitHub deployment status": {"deployment": "4711"}}


def test_a_deployment_that_is_named_is_used_and_none_is_made(
    world: World, log: PlainLog, listener: Listener
) -> None:
    services = services_of(world, log, *github(listener.url))
    announce(
        services,
        rehearsal(services, deployment=77, deployment_environment=""),
        "failure",
        url=PAGE,
        text="0012 is red",
    )

    path, body = listener.posts[1]
    assert path == "/repos/campus/api/deployments/77/statuses"
    assert body["state"] == "failure"
    assert body["auto_inactive"] is False
    assert "environment" not in body


def test_a_rehearsal_without_a_commit_sends_github_nothing(
    world: World, log: PlainLog, listener: Listener
) -> None:
    services = services_of(world, log, *github(listener.url))
    told = announce(services, rehearsal(services, commit=""), "success", url=PAGE, text="green")

    assert listener.heard == []
    assert all("nothing is sent" in line for line in told)


def test_descriptions_are_cut_to_what_github_takes(world: World, log: PlainLog, listener: Listener) -> None:
    services = services_of(world, log, *github(listener.url))
    announce(services, rehearsal(services), "failure", url=PAGE, text="it differs\n" * 30)

    described = [body["description"] for path, body in listener.posts if "statuses" in path]
    assert [len(text) for text in described] == [140, 140]
    assert all(text.endswith("…") and "\n" not in text for text in described)


def test_a_webhook_receives_the_documented_cloud_event(
    world: World, log: PlainLog, listener: Listener
) -> None:
    hook = Webhook(at(f"{listener.url}/hooks/lockstep?key=1"), source="https://airflow.example/lockstep")
    services = services_of(world, log, hook)
    begun = rehearsal(services)
    services.ledger.change_rehearsal(
        "r-1",
        verdict=Verdict.GREEN,
        report_path="rehearsals/r-1/report.json",
        report_sha256="5" * 64,
        predicted={"0012": Prediction(seconds=40.0, low=33.0, high=52.0)},
    )
    announce(services, begun, "success", url=PAGE, text="0012 works on a copy, and back: about 40 s live")
    announce(services, begun, "success", url=PAGE, text="0012 works on a copy, and back: about 40 s live")

    [event] = documented("What a webhook is sent")
    ended = services.ledger.rehearsal("r-1").ended_at
    assert ended is not None
    assert listener.posts[0] == ("/hooks/lockstep?key=1", {**event, "time": ended.isoformat()})
    assert listener.posts[1] == listener.posts[0]  # the same id and source: whoever deduplicates has one
    assert listener.heard[0].headers["content-type"] == "application/cloudevents+json; charset=utf-8"
    assert listener.heard[0].headers["authorization"] == f"Bearer {TOKEN}"


def test_the_beginning_has_an_event_type_and_an_id_of_its_own(
    world: World, log: PlainLog, listener: Listener
) -> None:
    services = services_of(world, log, Webhook(at(listener.url), source="https://airflow.example/lockstep"))
    announce(services, rehearsal(services), "pending", url=PAGE, text="begun")

    [(path, event)] = listener.posts
    assert path == "/"
    assert (event["type"], event["id"]) == ("lockstep.rehearsal.started", "r-1/pending")
    assert event["data"]["verdict"] is None


def test_a_server_that_fails_is_tried_again_with_growing_pauses(
    world: World, log: PlainLog, listener: Listener
) -> None:
    services = services_of(
        world, log, CommitStatus(GitHub(endpoint=at(listener.url), repository="campus/api"))
    )
    listener.will(500)
    listener.will(502, {"message": "Bad gateway"})
    pauses: list[float] = []
    told = announce(services, rehearsal(services), "success", url=PAGE, text="green", sleep=pauses.append)

    assert told == [f"GitHub commit status: lockstep/rehearsal of {SHA[:12]} is success"]
    assert len(listener.posts) == 3
    assert 0.5 <= pauses[0] <= 1.0 <= pauses[1] <= 2.0
    assert "answers 502 Bad Gateway" in log.text


def test_a_server_that_says_when_to_come_again_is_listened_to(
    world: World, log: PlainLog, listener: Listener
) -> None:
    services = services_of(
        world, log, CommitStatus(GitHub(endpoint=at(listener.url), repository="campus/api"))
    )
    listener.will(403, {"message": "You have exceeded a secondary rate limit"}, Retry_After="7")
    pauses: list[float] = []
    announce(services, rehearsal(services), "success", url=PAGE, text="green", sleep=pauses.append)

    assert pauses == [7.0]
    assert len(listener.posts) == 2


def test_a_refusal_is_not_tried_again_and_is_said_in_its_own_words(
    world: World, log: PlainLog, listener: Listener
) -> None:
    services = services_of(
        world, log, CommitStatus(GitHub(endpoint=at(listener.url), repository="campus/api"))
    )
    listener.will(401, {"message": "Bad credentials", "echo": TOKEN})
    [told] = announce(services, rehearsal(services), "success", url=PAGE, text="green", sleep=_never)

    assert "answers 401 Unauthorized" in told
    assert "Bad credentials" in told
    assert "'lockstep_github'" in told
    assert TOKEN not in told + log.text
    assert services.ledger.rehearsal("r-1").facts["announced"][0]["arrived"] is False


def test_nobody_listening_does_not_fail_the_rehearsal(
    world: World, log: PlainLog, listener: Listener
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    gone = Webhook(at(f"http://127.0.0.1:{port}/secret-path"), source="urn:here")
    services = services_of(world, log, gone, Webhook(at(listener.url), source="urn:here"))
    told = announce(
        services,
        rehearsal(services),
        "success",
        url=PAGE,
        text="green",
        insistence=Insistence(seconds=0.3, first_pause=0.1),
    )

    assert "does not answer" in told[0]
    assert "Tried" in told[0]
    assert "secret-path" not in told[0] + log.text
    assert "is delivered" in told[1]  # the next one is told all the same
    assert "The rehearsal is as it is without it" in log.text


def test_a_deployment_whose_number_was_lost_on_the_way_is_found_again(
    world: World, log: PlainLog, listener: Listener
) -> None:
    services = services_of(world, log, github(listener.url)[1])
    listener.will(504)
    listener.will(
        200, [{"id": 8, "payload": {"rehearsal": "r-0"}}, {"id": 9, "payload": '{"rehearsal": "r-1"}'}]
    )
    announce(services, rehearsal(services), "pending", url=PAGE, text="begun", sleep=lambda seconds: None)

    assert [(one.method, one.path.partition("?")[0]) for one in listener.heard] == [
        ("POST", "/repos/campus/api/deployments"),
        ("GET", "/repos/campus/api/deployments"),
        ("POST", "/repos/campus/api/deployments/9/statuses"),
    ]
    assert f"sha={SHA}" in listener.heard[1].path


def test_a_deployment_that_was_made_is_kept_though_its_status_did_not_arrive(
    world: World, log: PlainLog, listener: Listener
) -> None:
    services = services_of(world, log, github(listener.url)[1])
    begun = rehearsal(services)
    listener.will(201, {"id": 5})
    listener.will(422, {"message": "Validation Failed"})
    announce(services, begun, "pending", url=PAGE, text="begun", sleep=_never)
    announce(services, begun, "success", url=PAGE, text="green", sleep=_never)

    assert [path for path, _ in listener.posts] == [
        "/repos/campus/api/deployments",
        "/repos/campus/api/deployments/5/statuses",
        "/repos/campus/api/deployments/5/statuses",
    ]


def test_a_moved_address_is_not_followed_with_the_token(
    world: World, log: PlainLog, listener: Listener
) -> None:
    services = services_of(world, log, Webhook(at(listener.url), source="urn:here"))
    listener.will(301, None, Location=f"{listener.url}/elsewhere")
    [told] = announce(services, rehearsal(services), "success", url=PAGE, text="green", sleep=_never)

    assert "has moved, which is not followed" in told
    assert len(listener.heard) == 1


def test_an_announcer_that_breaks_is_named_and_its_words_are_not_repeated(
    world: World, log: PlainLog
) -> None:
    class Broken:
        name = "pager"

        def send(self, news: Announcement, *, tried_before: bool) -> Sent:
            raise RuntimeError(f"https://pager.example/?token={TOKEN}")

    services = services_of(world, log, Broken())
    assert announce(services, rehearsal(services), "error", url=PAGE, text="stopped") == [
        "pager: not told of error: it failed with RuntimeError."
    ]
    assert TOKEN not in log.text


def _never(seconds: float) -> None:
    raise AssertionError("nothing here is worth another try")
