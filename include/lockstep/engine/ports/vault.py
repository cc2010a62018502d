"""The port to the bucket of backups and journals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Protocol

from lockstep.domain.exchange import BackupPart
from lockstep.domain.progress import BackupFile


class Vault(Protocol):
    """The bucket that keeps backups, journals and archives."""

    def check(self) -> Mapping[str, str]: ...

    def write(self, path: str, part: BackupPart) -> BackupFile:
        """Stream a part to `path`, in bounded memory; return its size and SHA-256 as sent."""

    def write_many(
        self, folder: str, parts: Iterable[BackupPart], *, instead_of: str = ""
    ) -> list[BackupFile]:
        """Write parts below a folder, several at a time where they are small.

        Uploads below `instead_of`, or else the folder, that an earlier process did not finish are aborted first.
        """

    def digest(self, path: str) -> tuple[int, str]:
        """Read `path` back; return its size and SHA-256."""

    def put(self, path: str, body: bytes, content_type: str = "application/octet-stream") -> None: ...

    def put_new(self, path: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        """Write an object that is not there yet; False, and nothing is written, where it is."""

    def get(self, path: str) -> bytes: ...

    def read(self, path: str) -> Iterator[bytes]:
        """Stream an object's body, in bounded memory; DataError where there is none."""

    def paths(self, folder: str) -> Iterator[str]:
        """Yield the paths below a folder, in order."""

    def remove(self, paths: Iterable[str]) -> int:
        """Delete objects; those that are gone already are fine. Return how many were asked for."""

    def exists(self, path: str) -> bool: ...

    def uri(self, path: str) -> str:
        """Return `s3://bucket/path`, without credentials."""
