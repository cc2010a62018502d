"""Backups by pg_dump: one archive a database, streamed, which stock pg_restore takes into an empty database.

It holds the whole schema, and the rows of the tables touched and of those that they refer to. Owners and
grants are left out, so that another role, on another server, can restore it.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

import psycopg

from lockstep.domain.exchange import BackupPart
from lockstep.domain.progress import Fingerprint
from lockstep.domain.resources import Everything, Postgres, Table
from lockstep.stores.postgres.connect import Connector
from lockstep.stores.postgres.fingerprint import fingerprint
from lockstep.stores.postgres.programs import (
    STOP_TIMEOUT,
    Program,
    dbname,
    environment,
    failed,
    find_program,
    running,
)
from lockstep.stores.postgres.schema import PARKED
from lockstep.stores.postgres.shape import all_tables
from lockstep.stores.postgres.text import Conn, one, quote, run

#: bytes read from pg_dump at a time, at most
CHUNK = 1 << 20
#: seconds between two attempts to end a query that nobody needs any more
CANCEL_EVERY = 0.2
#: what the archive is called in a manifest
HOLDS = "postgres archive"
#: PostgreSQL's words for an archive's compression, best first: zstd since pg_dump 16, where built in; else gzip's
#: quickest, which is as quick. Measured: gzip's usual level takes twice as long, for a tenth less.
COMPRESSION = (("zstd:3", 16), ("1", 0))

#: The server's version as a number, as text, and the database's name.
SERVER = "SELECT current_setting('server_version_num')::integer, current_setting('server_version'), current_database()"

#: Let pg_dump see what this transaction sees.
EXPORT = "SELECT pg_export_snapshot()"

#: This transaction only waits while pg_dump works.
WAIT_LONG = "SELECT set_config('idle_in_transaction_session_timeout', '0', true)"

#: Of a set of tables: they, what they refer to by foreign key, and partitions, as far as it goes.
NEEDED = """
WITH RECURSIVE needed AS (
    SELECT unnest(%(oids)s::oid[]) AS oid
    UNION
    SELECT further.oid FROM needed JOIN (
        SELECT conrelid AS by, confrelid AS oid FROM pg_constraint WHERE contype = 'f'
        UNION ALL
        SELECT inhparent, inhrelid FROM pg_inherits
    ) AS further ON further.by = needed.oid
)
SELECT oid FROM needed
"""

#: Tables whose rows are not wanted.
UNWANTED = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND NOT c.oid = ANY(%(needed)s::oid[])
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast', 'lockstep_state')
ORDER BY 1, 2
"""

#: Whether anything in use hangs on a parked table: a foreign key or a view, which cannot be restored without it.
PARKED_IN_USE = """
SELECT EXISTS (
    SELECT FROM pg_constraint f JOIN pg_class c ON c.oid = f.conrelid JOIN pg_class t ON t.oid = f.confrelid
    WHERE f.contype = 'f' AND t.relnamespace = to_regnamespace(%(parked)s)
      AND c.relnamespace <> t.relnamespace
) OR EXISTS (
    SELECT FROM pg_depend d JOIN pg_rewrite w ON d.classid = 'pg_rewrite'::regclass AND d.objid = w.oid
    JOIN pg_class v ON v.oid = w.ev_class JOIN pg_class t ON d.refobjid = t.oid
    WHERE d.refclassid = 'pg_class'::regclass AND t.relnamespace = to_regnamespace(%(parked)s)
      AND v.relnamespace <> t.relnamespace
)
"""

#: A table's identity.
OID = "SELECT to_regclass(%(name)s)::oid::bigint"


def backup(
    connector: Connector, touched: Sequence[Table | Everything], pg_bin: Path | None
) -> Iterator[BackupPart]:
    """Give one archive of the database; Refused where no pg_dump fits the server."""
    with connector.transaction(snapshot=True) as conn:
        number, version, name = one(conn, SERVER)
    program = find_program(pg_bin)
    program.require(number, version, connector)
    dump = Dump(connector=connector, touched=tuple(touched), program=program)
    yield BackupPart(
        name=f"{name.replace('/', '_')}.dump",
        holds=HOLDS,
        chunks=dump.chunks,
        count=dump.count,
        fingerprints=dump.fingerprints,
        metadata={"pg-dump": program.version, "server": version.split()[0]},
    )


@lru_cache(maxsize=8)
def compression(program: Program) -> str:
    """Return the best compression that this pg_dump was built with.

    It is asked to dump from where no server is: one that cannot compress says so before it connects.
    """
    for name, since in COMPRESSION:
        if program.major < since:
            continue
        command = [program.path, "--format=custom", f"--compress={name}", "--dbname=host=/nonexistent"]
        said = subprocess.run(command, capture_output=True, text=True, check=False, env=environment())  # noqa: S603
        if "compress" not in said.stderr:
            return name
    return "0"


@dataclass(kw_only=True)
class Dump:
    """One run of pg_dump, begun when its chunks are read."""

    connector: Connector
    touched: tuple[Table | Everything, ...]
    program: Program
    _held: dict[str, Fingerprint] | None = field(default=None, init=False)

    def count(self) -> int | None:
        """Return the rows of the tables touched, in the very state that was dumped."""
        return None if self._held is None else sum(held.count for held in self._held.values())

    def fingerprints(self) -> dict[str, Fingerprint]:
        """Return the fingerprints of the tables touched, by slug, in the very state that was dumped."""
        return dict(self._held or {})

    def chunks(self) -> Iterator[bytes]:
        """Stream the archive; a consumer that stops early ends pg_dump."""
        with self.connector.transaction(snapshot=True) as conn:
            run(conn, WAIT_LONG)
            snapshot = one(conn, EXPORT)[0]
            tables = self._tables(conn)
            # Past a pooler: what pg_dump sets would stay there, an empty search path for the next client.
            params = self.connector.past_pooler(conn)
            stream = self._stream([*self._selection(conn, tables), f"--snapshot={snapshot}"], params)
            # The same snapshot: this is what pg_dump sees. While it works, this connection has nothing else to do.
            with self._beside(conn) as held:
                yield from stream
            self._held = held.result()

    @contextmanager
    def _beside(self, conn: Conn) -> Iterator[Future[dict[str, Fingerprint]]]:
        """Take the fingerprints in a thread; a block that is left early ends it."""
        touched = self._touched(conn)
        with ThreadPoolExecutor(1, thread_name_prefix="lockstep-fingerprint") as pool:
            taking = pool.submit(lambda: {table.slug: fingerprint(conn, table) for table in touched})
            try:
                yield taking
            except BaseException:
                # Again and again: one that comes between two statements ends neither.
                while not taking.done():
                    with suppress(psycopg.Error):
                        conn.cancel_safe(timeout=STOP_TIMEOUT)
                    wait([taking], timeout=CANCEL_EVERY)
                raise

    def _touched(self, conn: Conn) -> list[Table]:
        """Return the tables touched, whether they exist or not."""
        found: list[Table] = []
        for touched in self.touched:
            if isinstance(touched, Everything):
                database = cast(Postgres, touched.database)
                found += [Table(database, name, schema=schema) for schema, name in all_tables(conn)]
            else:
                found.append(touched)
        return found

    def _tables(self, conn: Conn) -> dict[int, str]:
        """Return the tables touched that exist, by identity."""
        names = [(table.schema, table.name) for table in self._touched(conn)]
        # to_regclass takes the name as a value: the per cent signs that quote() doubles are single there.
        found = {one(conn, OID, {"name": quote(*name).replace("%%", "%")})[0]: quote(*name) for name in names}
        found.pop(None, None)
        return found

    def _selection(self, conn: Conn, tables: dict[int, str]) -> list[str]:
        """Return the options that say what goes into the archive."""
        options = ["--exclude-schema=lockstep_state"]
        if not one(conn, PARKED_IN_USE, {"parked": PARKED})[0]:
            options.append(f"--exclude-schema={PARKED}")
        if any(isinstance(touched, Everything) for touched in self.touched):
            return options
        needed = [oid for (oid,) in run(conn, NEEDED, {"oids": list(tables)})]
        for schema, name in run(conn, UNWANTED, {"needed": needed}):
            pattern = ".".join('"' + part.replace('"', '""') + '"' for part in (schema, name))
            options.append(f"--exclude-table-data={pattern}")
        return [*options, "--no-blobs"]

    def _stream(self, selection: list[str], params: dict[str, Any]) -> Iterator[bytes]:
        command = [
            self.program.path,
            "--format=custom",
            f"--compress={compression(self.program)}",
            "--no-owner",
            "--no-privileges",
            "--no-publications",
            "--no-subscriptions",
            "--no-password",
            *selection,
            dbname(params),
        ]
        with running(command, params) as pg_dump:
            while chunk := os.read(pg_dump.out.fileno(), CHUNK):
                yield chunk
        if pg_dump.process.returncode:
            then = "Nothing was backed up; mend the cause and clear the failed task."
            raise failed(self.program, pg_dump, self.connector, params, then)
