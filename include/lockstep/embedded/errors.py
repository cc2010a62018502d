"""What can go wrong with the embedded servers.

EmbeddedError
├── ServerFailedError    a server did not start, or ended by itself
├── ServerMissingError   a server that was not started was asked for its address
└── RootInUseError       another living session holds the data folder
"""

from pathlib import Path


class EmbeddedError(Exception):
    """Stand above every error of the embedded servers."""


class ServerFailedError(EmbeddedError):
    """Name the server that failed, why, and what it wrote last."""

    def __init__(self, name: str, reason: str, log: Path, last_lines: tuple[str, ...] = ()) -> None:
        super().__init__(name, reason, log, last_lines)
        self.name = name
        self.reason = reason
        self.log = log
        self.last_lines = last_lines

    def __str__(self) -> str:
        said = "\n".join(f"    {line}" for line in self.last_lines) or "    (nothing)"
        return f"Embedded server '{self.name}' failed: {self.reason}. Its log {self.log} ends with:\n{said}"


class ServerMissingError(EmbeddedError):
    """Name a part that this session did not start."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name

    def __str__(self) -> str:
        return f"Embedded server '{self.name}' was not started: name it in start(parts=...)."


class RootInUseError(EmbeddedError):
    """Name the data folder that another session holds."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.root = root

    def __str__(self) -> str:
        return f"The data folder '{self.root}' is held by another session: stop it, or name another folder."
