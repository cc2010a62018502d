"""Events to a webhook: each a CloudEvent 1.0 in structured JSON mode, signed over its very bytes."""

from __future__ import annotations

from typing import Any

from lockstep.domain.events import SCHEMA, VERSION, payload
from lockstep.domain.exchange import Event
from lockstep.stores.announcers.sending import Endpoint, request
from lockstep.stores.announcers.webhook import CONTENT_TYPE


class WebhookSink:
    """Whoever takes CloudEvents. An event has the same source and id however often it comes."""

    def __init__(self, name: str, endpoint: Endpoint, *, source: str) -> None:
        """`source`: a URI that says which installation this is; the schema is found below it."""
        self.name = name
        self._endpoint = endpoint
        self._source = source

    def __repr__(self) -> str:
        return f"WebhookSink({self.name!r}, {self._endpoint.shown})"

    def deliver(self, event: Event, *, tried_before: bool) -> None:
        """Send one event. Unavailable where nobody answers or the server fails; Refused for any other no."""
        request(
            self._endpoint,
            "POST",
            body=cloud_event(event, self._source),
            headers={"Content-Type": CONTENT_TYPE, "User-Agent": "lockstep"},
            signed_as=event.id,
        )


def cloud_event(event: Event, source: str) -> dict[str, Any]:
    """Return the CloudEvent of an event."""
    data = payload(event)
    found = {
        "specversion": "1.0",
        "id": event.id,
        "source": source,
        "type": f"lockstep.{event.label}.v{VERSION}",
        "subject": data.get("revision"),
        "time": data["at"],
        "datacontenttype": "application/json",
        "dataschema": f"{source}/events/{SCHEMA}",
        # CloudEvents' extension for what must stay in order.
        "partitionkey": data.get("run"),
        "data": data,
    }
    return {name: value for name, value in found.items() if value is not None}
