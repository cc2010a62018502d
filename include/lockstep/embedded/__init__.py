"""The embedded default: every server that Lockstep needs, from Python wheels, below one folder."""

from lockstep.embedded.errors import EmbeddedError, RootInUseError, ServerFailedError, ServerMissingError
from lockstep.embedded.servers import Servers, running, start, stop

__all__ = [
    "EmbeddedError",
    "RootInUseError",
    "ServerFailedError",
    "ServerMissingError",
    "Servers",
    "running",
    "start",
    "stop",
]
