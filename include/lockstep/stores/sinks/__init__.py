"""Where events go besides Yapper, one a file."""

from lockstep.stores.sinks.broken import BrokenSink
from lockstep.stores.sinks.webhook import WebhookSink

__all__ = ["BrokenSink", "WebhookSink"]
