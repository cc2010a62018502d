"""What runs say reaches every sink, as it is documented, and says nothing of the run where it does not."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from driver import Driver, PlainLog
from jsonschema import Draft202012Validator
from listening import Listener, listening
from restorer import Restorer, restorer
from revisions import write
from world import World

from lockstep.domain.environment import Environment
from lockstep.domain.errors import NotDelivered, Refused, Unavailable
from lockstep.domain.events import LABELS, SCHEMA, payload
from lockstep.domain.exchange import Event
from lockstep.domain.status import RunStatus
from lockstep.engine.emitting import emit, look_at_outbox, relay
from lockstep.engine.metering import METRICS
from lockstep.engine.services import Services
from lockstep.stores.announcers import Endpoint
from lockstep.stores.sinks import BrokenSink, WebhookSink

__all__ = ["restorer"]

DOCS = Path(__file__).parents[2] / "docs" / "events.md"
SECRET = "whsec_bm90IGEgcmVhbCBzZWNyZXQsIGp1c3QgYnl0ZXM="
SOURCE = "https://airflow.example/lockstep"
SETUP = """CREATE TABLE users (id text PRIMARY KEY, n int);
INSERT INTO users SELECT i::text, i FROM generate_series(1, 250) i"""
ADD = """
def upgrade():
    yield ops.update_rows(Users, {"n": "n + 1"})

def downgrade():
    yield ops.restore(Users)
"""
BREAKS = """
def upgrade():
    yield ops.transform_rows(Users, odd, columns=["n"])

def downgrade():
    yield ops.restore(Users)

def odd(row):
    if row["id"] == "7":
        raise ValueError("seven")
    return {**row, "n": row["n"] + 1}
"""


class Kept:
    """A sink that keeps what it hears, as its payload, unless it is told to fail."""

    def __init__(self, name: str = "kept") -> None:
        self.name = name
        self.events: list[dict[str, Any]] = []
        self.error: Exception | None = None

    def deliver(self, event: Event, *, tried_before: bool) -> None:
        if self.error is not None:
            raise self.error
        self.events.append(payload(event))

    @property
    def labels(self) -> list[str]:
        return [event["label"].removeprefix("migration.") for event in self.events]


class Counted:
    """A meter that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, float, dict[str, str]]] = []

    def count(self, name: str, amount: int = 1, **tags: str) -> None:
        self.told.append(("count", name, amount, tags))

    def time(self, name: str, seconds: float, **tags: str) -> None:
        self.told.append(("time", name, seconds, tags))

    def gauge(self, name: str, value: float, **tags: str) -> None:
        self.told.append(("gauge", name, value, tags))

    def of(self, name: str) -> list[tuple[float, dict[str, str]]]:
        return [(value, tags) for _, told, value, tags in self.told if told == name]


@pytest.fixture
def listener() -> Iterator[Listener]:
    with listening() as made:
        yield made


@pytest.fixture
def log(driver: Driver) -> PlainLog:
    return driver.log


@pytest.fixture
def ready(world: World) -> World:
    world.run(SETUP)
    write(world.migrations, "0001", None, ADD)
    return world


def hearing(driver: Driver, *sinks: Any, **more: Any) -> Services:
    """Let everything that the driver does reach these sinks, and return its services."""
    made, environment = driver.services, Environment("production", approve="never")
    more = {"sinks": lambda: sinks, "environment": environment, **more}
    driver.services = lambda reached: replace(made(reached), **more)
    return driver.services(driver.bomb)


def under(driver: Driver, **settings: Any) -> Driver:
    """Return a driver like this one whose runs have other settings."""
    made = driver.services
    return replace(
        driver,
        services=lambda reached: replace(made(reached), settings=replace(made(reached).settings, **settings)),
    )


def webhook(url: str, **more: Any) -> WebhookSink:
    endpoint = Endpoint(url=url, conn_id="lockstep_webhook", secret=SECRET, timeout=5.0, **more)
    return WebhookSink("webhook lockstep_webhook", endpoint, source=SOURCE)


def test_every_event_of_real_runs_is_as_the_schema_says(
    ready: World, driver: Driver, restorer: Restorer
) -> None:
    kept, meter = Kept(), Counted()
    services = hearing(driver, kept, meter=meter)
    schema = json.loads((files("lockstep.domain") / "schemas" / SCHEMA).read_text(encoding="utf-8"))
    write(ready.migrations, "0002", "0001", BREAKS)

    first = driver.go("0001")
    assert driver.go("0002").status is RunStatus.ROLLED_BACK
    forgiving, strict = under(driver, bad_records="quarantine"), under(driver, on_failure="leave")
    forgiving.dag_runs = 100
    assert forgiving.go("0002").status is RunStatus.APPLIED_WITH_QUARANTINE
    assert forgiving.go("0002", "downgrade").status is RunStatus.DOWNGRADED
    driver.dag_runs = strict.dag_runs = 200
    _, revision, down = driver.open("0001", "downgrade")
    services.ledger.pause(down.id, by="olga", reason="the shop is busy")
    services.ledger.resume(down.id, by="olga")
    assert driver.finish(revision, down).status is RunStatus.DOWNGRADED
    restorer.restored(down.id)
    strict.dag_runs = 300
    assert strict.go("0002").status is RunStatus.FAILED

    checker = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for event in kept.events:
        checker.validate(event)
    assert kept.labels == [
        *("started", "backed_up", "applied"),
        *("started", "backed_up", "rolled_back"),
        *("started", "backed_up", "applied", "quarantined"),
        *("started", "backed_up", "rolled_back"),
        *("started", "paused", "resumed", "backed_up", "rolled_back"),
        *("started", "backed_up", "restored"),
        *("started", "backed_up", "failed"),
    ]
    assert [event["changed"] for event in kept.events if "changed" in event] == [True]
    assert len({event["id"] for event in kept.events}) == len(kept.events)
    assert {event["environment"] for event in kept.events} == {"production"}
    assert kept.events[0]["run"] == first.id
    assert schema["properties"]["label"]["enum"] == list(LABELS)

    # What was counted is what happened, under names and tags that the page lists.
    assert {(name, *sorted(tags)) for _, name, _, tags in meter.told} <= {
        (name, *sorted(tags)) for name, tags in METRICS.items()
    }
    assert [tags["revision"] for _, tags in meter.of("run.applied")] == ["0001"]
    assert len(meter.of("run.started")) == 7
    assert len(meter.of("run.duration")) == 7
    ends = ("applied_with_quarantine", "rolled_back", "downgraded", "restored", "failed")
    assert [len(meter.of(f"run.{end}")) for end in ends] == [1, 1, 2, 1, 1]
    written = [value for value, tags in meter.of("records.written") if tags["revision"] == "0001"]
    assert sum(written) == 500
    assert sum(value for value, _ in meter.of("records.quarantined")) == 1
    assert min(value for value, _ in meter.of("backup.bytes")) > 0
    assert sum(value for value, tags in meter.of("outbox.delivered")) == len(kept.events)


def documented(language: str) -> list[str]:
    """Return the blocks of the page in one language."""
    text = DOCS.read_text(encoding="utf-8")
    return [block.partition("```")[0] for block in text.split(f"```{language}\n")[1:]]


def test_a_webhook_is_sent_signed_cloud_events_that_the_documented_snippet_verifies(
    ready: World, driver: Driver, listener: Listener
) -> None:
    hearing(driver, webhook(listener.url))
    run = driver.go("0001")

    known: dict[str, Any] = {}
    exec(next(block for block in documented("python") if "def verified" in block), known)
    assert [one.body["type"] for one in listener.heard] == [
        f"lockstep.migration.{what}.v1" for what in ("started", "backed_up", "applied")
    ]
    for one in listener.heard:
        assert one.headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        assert known["verified"](one.headers, one.raw, SECRET)
        assert not known["verified"](one.headers, one.raw + b" ", SECRET)
        assert not known["verified"](one.headers, one.raw, "whsec_YW5vdGhlcg==")
        old = {**one.headers, "webhook-timestamp": str(int(time.time()) - 600)}
        assert not known["verified"](old, one.raw, SECRET)
        assert not known["verified"](old, one.raw, SECRET, tolerance=3600)
        event = one.body
        assert one.headers["webhook-id"] == event["id"] == event["data"]["id"]
        assert (event["source"], event["subject"]) == (SOURCE, "0001")
        assert event["dataschema"] == f"{SOURCE}/events/migration.v1.json"
        assert event["partitionkey"] == run.id
        assert event["time"] == event["data"]["at"]
    shown = json.loads(documented("json")[0])
    assert set(shown) == set(listener.heard[-1].body["data"])


def test_a_sink_that_is_away_neither_fails_the_run_nor_keeps_others_from_hearing(
    ready: World, driver: Driver, listener: Listener, log: PlainLog
) -> None:
    kept = Kept()
    for _ in range(20):
        listener.will(503)
    services = hearing(driver, webhook(listener.url), kept)
    assert driver.go("0001").status is RunStatus.APPLIED
    assert kept.labels == ["started", "backed_up", "applied"]
    assert len(listener.heard) == 1  # those behind the first wait in their order
    assert "wait for webhook lockstep_webhook: " in log.text
    assert "answers 503" in log.text
    assert look_at_outbox(services) == {
        "webhook lockstep_webhook": {"waiting": 3},
        "kept": {"waiting": 0},
    }

    # While it waits for its time, the relay asks nobody and is content.
    assert relay(services) == {"webhook lockstep_webhook": {"delivered": 0, "waiting": 3}}
    assert len(listener.heard) == 1
    # A sink that is away for less than a day makes nothing red; one that is away for longer does.
    assert relay(services, at_once=True)["webhook lockstep_webhook"]["waiting"] == 3
    with pytest.raises(NotDelivered, match=r"migration\.started .* of run 0001-up-.*503"):
        relay(services, at_once=True, overdue=timedelta(0))

    listener.answers.clear()
    assert relay(services, at_once=True)["webhook lockstep_webhook"]["delivered"] == 3
    assert relay(services) == {}
    ids = [one.body["id"] for one in listener.heard]
    assert list(dict.fromkeys(ids)) == [event["id"] for event in kept.events]


def test_a_refusal_is_red_at_once_and_kept(
    ready: World, driver: Driver, listener: Listener, log: PlainLog
) -> None:
    for _ in range(10):
        listener.will(400, {"error": "no such hook"})
    broken = BrokenSink("yapper", Refused("the Airflow connection 'lockstep_yapper' is of another type."))
    services = hearing(driver, webhook(listener.url, headers={"X-Token": "not-to-be-told"}), broken)
    assert driver.go("0001").status is RunStatus.APPLIED
    with pytest.raises(NotDelivered) as caught:
        relay(services, at_once=True)
    for part in ("2 event(s)", "answers 400", "no such hook", "is of another type", "at_once = true"):
        assert part in str(caught.value)
    assert caught.value.transient is False
    assert "not-to-be-told" not in str(caught.value) + log.text
    assert services.ledger.pending_events() == 3


def test_what_a_task_carries_is_not_handed_to_one_that_will_be_red(ready: World, driver: Driver) -> None:
    class Carrier(Kept):
        carrier, settles, horizon = "relay", 60.0, 3600.0

        def arrived(self, event: Event) -> bool:
            return True

    carrier, broken = Carrier("carrier"), Kept("broken")
    services = hearing(driver, carrier, broken)
    broken.error = Refused("no.")
    services.ledger.check()
    driver.open("0001")
    with pytest.raises(NotDelivered):
        relay(services)
    assert carrier.events == []
    assert emit(services)["delivered"] == {"broken": 0, "carrier": 1}
    assert carrier.labels == ["started"]


def test_a_ledger_that_no_run_has_used_yet_has_nothing_to_deliver(world: World, driver: Driver) -> None:
    services = hearing(driver, Kept())
    assert relay(services) == {}
    assert services.ledger.check()["schema"] != "0"


def test_retry_after_is_minded(ready: World, driver: Driver, listener: Listener) -> None:
    listener.will(429, Retry_After="900")
    hearing(driver, webhook(listener.url))
    driver.open("0001")
    emit(driver.services(driver.bomb))
    (waits,) = ready.rows(
        "SELECT extract(epoch FROM next_try_at - tried_at) FROM _migration_deliveries WHERE error IS NOT NULL",
        ready.ledger_uri,
    )
    assert 890 < waits[0] < 910


def test_nobody_there_is_worth_a_try_and_a_refusal_is_none(listener: Listener) -> None:
    event = Event(id="e", label="migration.applied", data={}, at=datetime(2026, 11, 22, tzinfo=timezone.utc))
    with pytest.raises(Unavailable):
        webhook("http://127.0.0.1:9").deliver(event, tried_before=False)
    listener.will(302, Location="http://127.0.0.1:9/elsewhere")
    with pytest.raises(Refused, match="has moved, which is not followed"):
        webhook(listener.url).deliver(event, tried_before=False)
    with pytest.raises(Refused, match="goes on in base64"):
        WebhookSink(
            "w", Endpoint(url=listener.url, conn_id="w", secret="whsec_no base64"), source=SOURCE
        ).deliver(event, tried_before=False)


def test_the_page_on_metrics_lists_every_metric_with_its_tags() -> None:
    page = (DOCS.parent / "metrics.md").read_text(encoding="utf-8")
    listed = {}
    for line in page.splitlines():
        if line.startswith("| `lockstep."):
            name, _, _, tags = (cell.strip() for cell in line.strip("|").split("|"))
            listed[name.strip("`").removeprefix("lockstep.")] = tuple(
                tag.strip("` ") for tag in tags.split(",")
            )
    assert listed == dict(METRICS)
