"""The vault for whoever only looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NoReturn

from lockstep.domain.errors import Refused
from lockstep.domain.exchange import BackupPart
from lockstep.domain.progress import BackupFile
from lockstep.stores.vault.vault import S3Vault


class LookingVault(S3Vault):
    """A vault that is read and never written; Refused for everything else."""

    def check(self) -> Mapping[str, str]:
        """Answer with server facts; whether it may be written cannot be told without writing."""
        place = self._place
        place.require_bucket()
        with place.translated(""):
            place.client.list_objects_v2(Bucket=place.bucket, MaxKeys=1)
        return {"endpoint": place.endpoint, "bucket": place.bucket}

    def write(self, path: str, part: BackupPart) -> BackupFile:
        return self._refused(path)

    def write_many(
        self, folder: str, parts: Iterable[BackupPart], *, instead_of: str = ""
    ) -> list[BackupFile]:
        return self._refused(folder)

    def put(self, path: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        self._refused(path)

    def remove(self, paths: Iterable[str]) -> int:
        return self._refused("what it was to remove")

    def _refused(self, path: str) -> NoReturn:
        raise Refused(
            f"{self.uri(path)}: the vault is only looked at here. A dry run, or a plan, writes nothing to it.",
            path=path,
        )
