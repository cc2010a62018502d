"""Tell a Slack channel and a mailing list what migrations did, through Airflow's own notifiers.

Copy this file into dags/. What it needs is in README.md beside it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from airflow.sdk import Asset, AssetAny, dag, task

ENVIRONMENT = "default"
#: what is worth a message; the others are for machines
LABELS = ("applied", "quarantined", "rolled_back", "failed", "paused", "restored")
#: Airflow connections; leave one empty to go without it
SLACK = "slack_default"
CHANNEL = "#deploys"
EMAIL = "smtp_default"
PEOPLE = "storage@example.com"

assets = AssetAny(*(Asset(f"lockstep://{ENVIRONMENT}/migration/{label}") for label in LABELS))


@dag(schedule=assets, catchup=False, is_paused_upon_creation=False, tags=["lockstep"])
def tell_people() -> None:
    """Say what migrations did where people read it."""

    @task(retries=5)
    def tell(triggering_asset_events: Any = None, **context: Any) -> list[str]:
        told = [event.extra for events in triggering_asset_events.values() for event in events]
        return send(told, context)

    tell()


def send(payloads: Iterable[Mapping[str, Any]], context: Any) -> list[str]:
    """Send each event once, the earliest first; return what was said."""
    once = {payload["id"]: payload for payload in payloads}
    said = []
    for payload in sorted(once.values(), key=lambda one: one["at"]):
        words = sentence(payload)
        for notifier in notifiers(words, payload):
            notifier.notify(context)
        said.append(words)
    return said


def notifiers(words: str, payload: Mapping[str, Any]) -> Iterable[Any]:
    """Yield what tells people. The providers are imported when something is to be said, not while Airflow parses."""
    if SLACK:
        from airflow.providers.slack.notifications.slack import SlackNotifier

        yield SlackNotifier(slack_conn_id=SLACK, channel=CHANNEL, text=words)
    if EMAIL:
        from airflow.providers.smtp.notifications.smtp import SmtpNotifier

        yield SmtpNotifier(
            smtp_conn_id=EMAIL, to=PEOPLE, subject=words.partition("\n")[0], html_content=page(payload)
        )


def sentence(payload: Mapping[str, Any]) -> str:
    """Return an event in words, the first line short."""
    what = payload["label"].removeprefix("migration.").replace("_", " ")
    line = f"{payload['environment']}: {payload['revision']} is {what} (asked for by {payload['by']})"
    if payload["label"] == "migration.failed" and payload.get("changed"):
        line += ", and a person has to decide what becomes of it"
    return f"{line}\n{payload['error']}" if payload.get("error") else line


def page(payload: Mapping[str, Any]) -> str:
    from html import escape

    return f"<pre>{escape(sentence(payload))}</pre><p>Run {escape(payload['run'])}, event {escape(payload['id'])}</p>"


tell_people()
