"""A PostgreSQL that others may replay, and one that does: of the tests' own, since the shared one keeps no WAL."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from lockstep.embedded import postgres
from lockstep.embedded.interrupts import Interrupts
from lockstep.embedded.process import Spec, end, free_port, spawn, wait_until_ready

#: the last word on a command line wins
PRIMARY = ("-c", "wal_level=replica", "-c", "max_wal_senders=5", "-c", "fsync=off")
#: seconds between two answers of a standby that has nothing to say: as it is by default, too long for a test
STANDBY = ("-c", "wal_receiver_status_interval=1s", "-c", "hot_standby=on")


@contextmanager
def primary() -> Iterator[str]:
    """Start a server that others may replay; yield its conninfo."""
    with _folder() as root:
        port, secret = free_port(), postgres.password(root)
        spec = postgres.spec(root, port)
        postgres.prepare(spec, Interrupts())
        with _running(replace(spec, command=(*spec.command, *PRIMARY)), port, secret):
            yield postgres.uri(port, secret, "postgres")


@contextmanager
def standby(of: str, name: str) -> Iterator[str]:
    """Copy a server, and replay what it writes; yield the copy's conninfo."""
    with _folder() as root:
        port = free_port()
        spec = postgres.spec(root, port)
        spec.data.mkdir(mode=0o700)
        if spec.user:
            shutil.chown(spec.data, spec.user)
        given = make_conninfo(of, application_name=name)
        copy = [
            str(postgres.pg_bin() / "pg_basebackup"),
            "-D",
            str(spec.data),
            "-d",
            given,
            "-R",
            "-X",
            "stream",
        ]
        user = spec.user or None
        subprocess.run(
            [*copy, "--checkpoint=fast"], check=True, user=user, extra_groups=[] if user else None, cwd=root
        )
        secret = str(psycopg.conninfo.conninfo_to_dict(of)["password"])
        with _running(replace(spec, command=(*spec.command, *PRIMARY, *STANDBY)), port, secret):
            yield make_conninfo(of, port=port)


@contextmanager
def _folder() -> Iterator[Path]:
    # Not in pytest's own folder: that one is closed to other users, and PostgreSQL is one.
    with tempfile.TemporaryDirectory(prefix="lockstep-replicated-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


@contextmanager
def _running(spec: Spec, port: int, secret: str) -> Iterator[None]:
    child = spawn(spec)
    try:
        wait_until_ready(child, lambda: postgres.ready(child, port, secret), Interrupts())
        yield
    finally:
        end([child])
