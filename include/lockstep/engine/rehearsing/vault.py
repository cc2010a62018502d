"""The vault as a rehearsal sees it: everything that it writes lies below one folder of the real one."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from lockstep.domain.exchange import BackupPart
from lockstep.domain.progress import BackupFile
from lockstep.engine.ports import Vault


@dataclass(frozen=True, kw_only=True)
class FolderVault:
    """A Vault below a folder of another. Paths that go in and come out are relative to the folder."""

    vault: Vault
    #: without a slash at its end
    folder: str

    def check(self) -> Mapping[str, str]:
        return self.vault.check()

    def write(self, path: str, part: BackupPart) -> BackupFile:
        return self._relative(self.vault.write(self._whole(path), part))

    def write_many(
        self, folder: str, parts: Iterable[BackupPart], *, instead_of: str = ""
    ) -> list[BackupFile]:
        whole = self._whole(instead_of) if instead_of else ""
        return [
            self._relative(file)
            for file in self.vault.write_many(self._whole(folder), parts, instead_of=whole)
        ]

    def digest(self, path: str) -> tuple[int, str]:
        return self.vault.digest(self._whole(path))

    def put(self, path: str, body: bytes, content_type: str = "application/octet-stream") -> None:
        self.vault.put(self._whole(path), body, content_type)

    def put_new(self, path: str, body: bytes, content_type: str = "application/octet-stream") -> bool:
        return self.vault.put_new(self._whole(path), body, content_type)

    def get(self, path: str) -> bytes:
        return self.vault.get(self._whole(path))

    def read(self, path: str) -> Iterator[bytes]:
        return self.vault.read(self._whole(path))

    def paths(self, folder: str) -> Iterator[str]:
        cut = len(self.folder) + 1
        return (path[cut:] for path in self.vault.paths(self._whole(folder)))

    def remove(self, paths: Iterable[str]) -> int:
        return self.vault.remove(self._whole(path) for path in paths)

    def exists(self, path: str) -> bool:
        return self.vault.exists(self._whole(path))

    def uri(self, path: str) -> str:
        return self.vault.uri(self._whole(path))

    def _whole(self, path: str) -> str:
        return f"{self.folder}/{path}"

    def _relative(self, file: BackupFile) -> BackupFile:
        return replace(file, path=file.path.removeprefix(f"{self.folder}/"))
