"""Backups kept in memory, as a vault would keep them, and as it should not."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from lockstep.domain.exchange import BackupPart
from lockstep.domain.progress import BackupFile

FOLDER = "backups/r1/campus"


@dataclass
class Kept:
    """The files of a manifest, and the bytes below their paths."""

    files: list[BackupFile] = field(default_factory=list)
    bodies: dict[str, bytes] = field(default_factory=dict)

    def read(self, path: str) -> Iterator[bytes]:
        body = self.bodies[path]
        # An odd size: nothing that is read may happen to end where a chunk does.
        return (body[at : at + 997] for at in range(0, len(body), 997))

    def path(self, end: str) -> str:
        return next(file.path for file in self.files if file.path.endswith(end))

    def flip(self, end: str, at: int = -2) -> str:
        """Turn one bit of a file; return its path."""
        path = self.path(end)
        body = bytearray(self.bodies[path])
        body[at] ^= 1
        self.bodies[path] = bytes(body)
        return path

    def tear(self, end: str, size: int) -> str:
        """Cut a file; return its path."""
        path = self.path(end)
        self.bodies[path] = self.bodies[path][:size]
        return path


def keep(parts: Iterable[BackupPart]) -> Kept:
    kept = Kept()
    for part in parts:
        body = b"".join(part.chunks())
        path = f"{FOLDER}/{part.name}"
        kept.bodies[path] = body
        kept.files.append(
            BackupFile(
                path=path,
                size=len(body),
                sha256=hashlib.sha256(body).hexdigest(),
                holds=part.holds,
                count=part.count(),
            )
        )
    # As a manifest has them.
    kept.files.sort(key=lambda file: file.path)
    return kept
