"""Backups put into an empty database by stock pg_restore, streamed to it and hashed on the way."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lockstep.domain.errors import BackupNotProven, DataError
from lockstep.domain.progress import BackupFile
from lockstep.stores.postgres.connect import Connector
from lockstep.stores.postgres.dump import HOLDS, SERVER
from lockstep.stores.postgres.errors import translated
from lockstep.stores.postgres.programs import dbname, failed, find_program, running
from lockstep.stores.postgres.text import one, raw

#: What pg_restore's sessions set besides: what is lost in a crash is loaded again, and indexes are built in memory.
OPTIONS = "-c synchronous_commit=off -c maintenance_work_mem={megabytes}MB"
#: megabytes of the server's memory that building an index may take
INDEX_MEMORY = 256

#: Statistics, which no archive holds: plans here are to be those of the database that was backed up.
ANALYZE = "ANALYZE"


@dataclass(kw_only=True)
class _Hashed:
    """A file's bytes as they pass by."""

    chunks: Iterator[bytes]
    size: int = 0
    digest: hashlib._Hash = field(default_factory=hashlib.sha256)

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self.chunks:
            self.size += len(chunk)
            self.digest.update(chunk)
            yield chunk


def load(
    connector: Connector,
    files: Sequence[BackupFile],
    read: Callable[[str], Iterator[bytes]],
    pg_bin: Path | None,
) -> None:
    """Restore the archive among the files of one manifest into this database.

    Raises BackupNotProven, naming the file, where its bytes are not those that were written, even if pg_restore
    takes them: archives have no checksums. Refused or Unavailable quote pg_restore; the database is then not whole.
    """
    archives = [file for file in files if file.holds == HOLDS]
    if len(archives) != 1:
        raise DataError(
            f"a PostgreSQL backup is one archive, and this one has {len(archives)}: "
            f"{', '.join(file.path for file in files) or 'no file at all'}. Choose another backup.",
        )
    program = find_program(pg_bin, "pg_restore")
    with connector.transaction(snapshot=True) as conn:
        number, version, _ = one(conn, SERVER)
        params = connector.past_pooler(conn)
    program.require(number, version, connector)
    options = f"{params.get('options') or ''} {OPTIONS.format(megabytes=INDEX_MEMORY)}".strip()
    command = [
        program.path,
        "--format=custom",
        "--no-owner",
        "--no-privileges",
        "--no-password",
        "--exit-on-error",
        dbname(params, options=options),
    ]
    passing = _Hashed(chunks=read(archives[0].path))
    with running(command, params, fed=True) as pg_restore:
        try:
            for chunk in passing:
                pg_restore.into.write(chunk)
            pg_restore.into.close()
        except BrokenPipeError:  # it ended early, and says why
            pass
    # The rest as well: what pg_restore stumbled over may not be what was written.
    for _ in passing:
        pass
    _refuse_altered(archives[0], passing)
    if pg_restore.process.returncode:
        then = f"Database {connector.address.dbname!r} is not whole; drop it, mend the cause and try again."
        raise failed(program, pg_restore, connector, params, then)
    with connector.transaction(pinned=False) as conn, translated(connector.address):
        conn.execute(raw(ANALYZE))


def _refuse_altered(file: BackupFile, passed: _Hashed) -> None:
    if (passed.size, passed.digest.hexdigest()) != (file.size, file.sha256):
        raise BackupNotProven(
            f"{file.path} in the vault reads as {passed.size} bytes, SHA-256 {passed.digest.hexdigest()[:12]}…, and "
            f"was written as {file.size} bytes, {file.sha256[:12]}…. What was restored of it is not what was backed up. "
            "Look at the vault's storage, and choose another backup.",
            path=file.path,
        )
