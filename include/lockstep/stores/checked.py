"""Read a backup's file, and see that it is the one that was written."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator

from lockstep.domain.errors import BackupNotProven
from lockstep.domain.progress import BackupFile

#: path → the bytes that the vault has there
Read = Callable[[str], Iterator[bytes]]


class Checked:
    """The bytes of a file as they come. At their end, BackupNotProven unless they are those of its manifest."""

    def __init__(self, file: BackupFile, read: Read) -> None:
        self._file = file
        self._chunks = iter(read(file.path))
        self._digest = hashlib.sha256()
        self._size = 0

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            chunk = next(self._chunks)
        except StopIteration:
            self._require()
            raise
        self._digest.update(chunk)
        self._size += len(chunk)
        return chunk

    def settle(self) -> None:
        """Read what is left: where something went wrong on the way, the file itself may be to blame."""
        for _ in self:
            pass

    def _require(self) -> None:
        found = self._digest.hexdigest()
        if (self._size, found) != (self._file.size, self._file.sha256):
            raise BackupNotProven(
                f"{self._file.path} reads back as {self._size} bytes, SHA-256 {found[:12]}…, and was written as "
                f"{self._file.size} bytes, {self._file.sha256[:12]}…. Look at the vault's storage, and use another "
                "backup.",
                path=self._file.path,
            )


def whole(file: BackupFile, read: Read) -> bytes:
    """Return a small file's bytes; BackupNotProven where they are not those of its manifest."""
    return b"".join(Checked(file, read))
