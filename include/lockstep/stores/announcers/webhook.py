"""Any webhook: a CloudEvent 1.0 in structured JSON mode."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from lockstep.domain.announcement import Announcement, Sent
from lockstep.stores.announcers.sending import Endpoint, request

CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
STARTED = "lockstep.rehearsal.started"
FINISHED = "lockstep.rehearsal.finished"


class Webhook:
    """Whoever takes CloudEvents. The same state of a rehearsal has the same source and id, however often it comes."""

    name = "webhook"

    def __init__(self, endpoint: Endpoint, *, source: str) -> None:
        """`source`: a URI that says which installation this is."""
        self._endpoint = endpoint
        self._source = source

    def send(self, news: Announcement, *, tried_before: bool) -> Sent:
        event = cloud_event(news, self._source)
        headers = {"Content-Type": CONTENT_TYPE, "User-Agent": "lockstep"}
        request(self._endpoint, "POST", body=event, headers=headers, signed_as=event["id"])
        return Sent(said=f"{event['type']} is delivered to {self._endpoint.shown}")


def cloud_event(news: Announcement, source: str) -> dict[str, Any]:
    """Return the event of a state."""
    rehearsal = news.rehearsal
    return {
        "specversion": "1.0",
        "id": f"{rehearsal.id}/{news.state}",
        "source": source,
        "type": STARTED if news.state == "pending" else FINISHED,
        "subject": rehearsal.target,
        "time": news.at.isoformat(),
        "datacontenttype": "application/json",
        "data": {
            "rehearsal": rehearsal.id,
            "state": news.state,
            "verdict": rehearsal.verdict.value if rehearsal.verdict else None,
            "text": news.text,
            "target": rehearsal.target,
            "revisions": dict(rehearsal.revisions),
            "predicted": {revision: asdict(one) for revision, one in rehearsal.predicted.items()},
            "report": {"url": news.url, "path": rehearsal.report_path, "sha256": rehearsal.report_sha256},
            "commit": rehearsal.params.get("commit") or None,
            "environment": rehearsal.params.get("deployment_environment") or None,
            "by": rehearsal.caller.by,
        },
    }
