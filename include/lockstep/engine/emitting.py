"""Hand what happened to whoever listens."""

from __future__ import annotations

from typing import Any

from lockstep.engine.services import Services


def emit(services: Services) -> dict[str, Any]:
    """Deliver every pending event to every sink; what fails stays in the outbox and is raised at the end."""
    delivered = {sink.name: services.ledger.deliver(sink) for sink in services.sinks}
    for name, count in delivered.items():
        services.log.info(f"{count} event(s) delivered to {name}")
    if not services.sinks:
        services.log.info("no sink is configured: events stay in the outbox")
    return {"delivered": delivered, "pending": services.ledger.pending_events()}
